// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URL;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.kms.server.KMSConfiguration;
import org.apache.hadoop.crypto.key.kms.server.KMSWebServer;

/**
 * Starts the stock Java KMS in this JVM and prints one line, {@code KMS ready URL}, once it answers.
 * The process is the server itself, so its pid, memory and signals are those of the Java KMS.
 */
public final class JavaKms {
  private static final long START_LIMIT_MS = 60_000;

  private JavaKms() {}

  public static void main(String[] args) throws Exception {
    String url = serverUrl();
    Thread announcer = new Thread(() -> announce(url), "announcer");
    announcer.setDaemon(true);
    announcer.start();
    KMSWebServer.main(args);
  }

  private static String serverUrl() {
    Configuration conf = KMSConfiguration.getKMSConf();
    String host = conf.get("hadoop.kms.http.host", "0.0.0.0");
    if (host.equals("0.0.0.0")) {
      host = "127.0.0.1";
    }
    // The server lets this environment variable win over kms-site.xml.
    String port = System.getenv("KMS_HTTP_PORT");
    if (port == null) {
      port = conf.get("hadoop.kms.http.port", "9600");
    }
    String scheme = conf.getBoolean("hadoop.kms.ssl.enabled", false) ? "https" : "http";
    return scheme + "://" + host + ":" + port + "/kms";
  }

  private static void announce(String url) {
    long deadline = System.currentTimeMillis() + START_LIMIT_MS;
    while (System.currentTimeMillis() < deadline) {
      if (answers(url)) {
        System.out.println("KMS ready " + url);
        System.out.flush();
        return;
      }
      try {
        Thread.sleep(50);
      } catch (InterruptedException e) {
        return;
      }
    }
    System.err.println("KMS gave no answer within " + START_LIMIT_MS / 1000 + " s");
    System.exit(1);
  }

  /** Any HTTP status will do; behind TLS an open port is enough, since no trust store is at hand. */
  private static boolean answers(String url) {
    try {
      URL target = new URL(url + "/v1/keys/names");
      if (target.getProtocol().equals("https")) {
        try (Socket socket = new Socket()) {
          socket.connect(new InetSocketAddress(target.getHost(), target.getPort()), 1000);
          return true;
        }
      }
      HttpURLConnection connection = (HttpURLConnection) target.openConnection();
      connection.setConnectTimeout(1000);
      connection.setReadTimeout(30_000);
      boolean answered = connection.getResponseCode() > 0;
      connection.disconnect();
      return answered;
    } catch (IOException e) {
      return false;
    }
  }
}
