// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.PrivilegedExceptionAction;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.apache.hadoop.security.UserGroupInformation;

/** The server under test, as the system properties name it. */
final class TestServer {
  private TestServer() {}

  /** What every client in these tests is configured with. */
  static Configuration configuration() {
    Configuration conf = new Configuration();
    conf.setInt("hadoop.security.kms.client.timeout", 30);
    // A small client-side queue: each test key would otherwise cost the server 500 encrypted keys.
    conf.setInt("hadoop.security.kms.client.encrypted.key.cache.size", 20);
    return conf;
  }

  static URI url() {
    return URI.create(required("kms.url"));
  }

  /** The second instance on the same store, or null. */
  static URI secondUrl() {
    String url = System.getProperty("kms.url2", "");
    return url.isEmpty() ? null : URI.create(url);
  }

  /** Names under which the one port of {@code kms.url} answers, for the load-balancing client. */
  static List<String> hosts() {
    String hosts = System.getProperty("kms.hosts", "");
    return List.of((hosts.isEmpty() ? "127.0.0.1;localhost" : hosts).split(";"));
  }

  /** {@code http://host:port/kms} as a provider URI, {@code kms://http@host:port/kms}. */
  static URI providerUri(URI url) {
    return URI.create("kms://" + url.getScheme() + "@" + url.getAuthority() + url.getPath());
  }

  static URI loadBalancingUri() {
    URI url = url();
    String hosts = String.join(";", hosts());
    return URI.create("kms://" + url.getScheme() + "@" + hosts + ":" + url.getPort() + url.getPath());
  }

  static KMSClientProvider client() throws IOException {
    return new KMSClientProvider(providerUri(url()), configuration());
  }

  /** The server's keystore file, or null if the server under test keeps its keys elsewhere. */
  static Path keystore() {
    String file = System.getProperty("kms.keystore", "");
    String directory = System.getProperty("kms.conf.dir", "");
    if (!file.isEmpty()) {
      return Path.of(file);
    }
    if (!directory.isEmpty() && Files.exists(Path.of(directory, "kms.keystore"))) {
      return Path.of(directory, "kms.keystore");
    }
    return null;
  }

  /** Whether a deleted key is hidden until it is purged, as in a trustee:// store. */
  static boolean keepsDeletedKeys() {
    return Boolean.getBoolean("kms.keeps.deleted");
  }

  static String keystorePassword() {
    return required("kms.keystore.password");
  }

  /** Runs an action as a user who has nothing but a name, which simple authentication takes at its word. */
  static <T> T as(String user, PrivilegedExceptionAction<T> action) throws IOException, InterruptedException {
    return UserGroupInformation.createRemoteUser(user).doAs(action);
  }

  private static String required(String property) {
    String value = System.getProperty(property, "");
    if (value.isEmpty()) {
      throw new IllegalStateException("set -D" + property + "=..., or use the script tests/interop/run");
    }
    return value;
  }
}
