// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;

/** The servers that the script run-ha has set up, and clients configured for them as an administrator would. */
final class TlsServer {
  private TlsServer() {}

  static void assumeThere() {
    assumeTrue(!System.getProperty("kms.tls.port", "").isEmpty(), "kms.tls.port is not set: use the script run-ha");
  }

  /** Both nodes, {@code kms://https@h1;h2:port/kms}. */
  static URI pair() {
    return URI.create("kms://https@" + property("kms.tls.hosts") + ":" + property("kms.tls.port") + "/kms");
  }

  static URI first() {
    return URI.create("kms://https@127.0.0.1:" + property("kms.tls.port") + "/kms");
  }

  /** The server that wants a client certificate. */
  static URI mutual() {
    return URI.create("kms://https@127.0.0.1:" + property("kms.tls.mutual.port") + "/kms");
  }

  /** A client that trusts the CA of a truststore and has, if told so, a certificate of its own. */
  static Configuration configuration(String truststore, boolean certificate) throws IOException {
    Configuration ssl = new Configuration(false);
    ssl.set("ssl.client.truststore.location", file(truststore));
    ssl.set("ssl.client.truststore.password", property("kms.tls.password"));
    ssl.set("ssl.client.truststore.type", "jks");
    if (certificate) {
      ssl.set("ssl.client.keystore.location", file("keystore.jks"));
      ssl.set("ssl.client.keystore.password", property("kms.tls.password"));
      ssl.set("ssl.client.keystore.keypassword", property("kms.tls.password"));
      ssl.set("ssl.client.keystore.type", "jks");
    }
    String name = "ssl-client-" + truststore + "-" + certificate + ".xml";
    try (OutputStream out = Files.newOutputStream(classPath().resolve(name))) {
      ssl.writeXml(out);
    }
    Configuration conf = TestServer.configuration();
    conf.set("hadoop.ssl.client.conf", name);
    conf.setBoolean("hadoop.ssl.require.client.cert", certificate);
    return conf;
  }

  static Configuration configuration() throws IOException {
    return configuration("truststore.jks", false);
  }

  static KMSClientProvider client(URI uri, Configuration conf) throws IOException {
    return new KMSClientProvider(uri, conf);
  }

  static String property(String name) {
    return System.getProperty(name);
  }

  private static String file(String name) {
    return Path.of(property("kms.tls.client"), name).toString();
  }

  /** Hadoop looks for ssl-client.xml on the class path alone. */
  private static Path classPath() {
    try {
      return Path.of(TlsServer.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }
}
