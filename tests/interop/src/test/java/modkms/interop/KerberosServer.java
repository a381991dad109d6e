// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import java.security.PrivilegedExceptionAction;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.apache.hadoop.security.SecurityUtil;
import org.apache.hadoop.security.UserGroupInformation;

/** The servers that the script run-kerberos has set up, and users of its KDC. */
final class KerberosServer {
  static final String REALM = "TEST.REALM";

  private KerberosServer() {}

  static void assumeThere() {
    assumeTrue(!System.getProperty("kms.krb.port", "").isEmpty(), "kms.krb.port is not set: use the script run-kerberos");
  }

  /** For clients of a secure cluster; also makes this process one. */
  static Configuration secure() {
    Configuration conf = TestServer.configuration();
    conf.set("hadoop.security.authentication", "kerberos");
    conf.setInt("hadoop.kerberos.min.seconds.before.relogin", 1);
    // The client wants short names of its own users, too.
    conf.set("hadoop.security.auth_to_local", "RULE:[1:$1@$0](.*@OTHER.REALM)s/@.*// DEFAULT");
    UserGroupInformation.setConfiguration(conf);
    // Hadoop falls back to the user of the process for who has neither ticket nor token.
    UserGroupInformation.setLoginUser(UserGroupInformation.createRemoteUser("nobody"));
    SecurityUtil.setConfiguration(conf);
    return conf;
  }

  static int port() {
    return Integer.getInteger("kms.krb.port");
  }

  /** The server whose tokens and cookies live for seconds only. */
  static int shortPort() {
    return Integer.getInteger("kms.krb.short.port");
  }

  /** What is in the server's keytab, all of them names of 127.0.0.1. */
  static List<String> names() {
    return List.of(System.getProperty("kms.krb.names").split(";"));
  }

  static URI uri(String host, int port) {
    return URI.create("kms://http@" + host + ":" + port + "/kms");
  }

  static String keytab(String name) {
    return Path.of(System.getProperty("kms.krb.dir"), name + ".keytab").toString();
  }

  /** A user by keytab, whose file has the first component of the name. */
  static UserGroupInformation login(String principal) throws IOException {
    return UserGroupInformation.loginUserFromKeytabAndReturnUGI(
        principal.contains("@") ? principal : principal + "@" + REALM, keytab(principal.split("[/@]")[0]));
  }

  interface Use<T> {
    T of(KMSClientProvider kms) throws Exception;
  }

  /** One call as a user, with a client of its own. */
  static <T> T call(UserGroupInformation user, URI uri, Configuration conf, Use<T> use) throws Exception {
    return user.doAs((PrivilegedExceptionAction<T>) () -> {
      try (KMSClientProvider kms = new KMSClientProvider(uri, conf)) {
        return use.of(kms);
      }
    });
  }

  static String chain(Throwable thrown) {
    StringBuilder all = new StringBuilder();
    for (Throwable t = thrown; t != null; t = t.getCause()) {
      all.append(t).append(System.lineSeparator());
    }
    return all.toString();
  }
}
