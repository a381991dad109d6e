// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** One KMS server that a test starts and stops: the Java KMS or mod_kms, both on the same files of configuration. */
final class KmsNode {
  private static final long START_LIMIT_MS = 60_000;
  private static final long STOP_LIMIT_S = 30;

  private final Path top;
  private final Path area;
  private final Path conf;
  private final int port;
  private Process process;
  private int starts;

  KmsNode(Path top, Path area, Path conf, int port) {
    this.top = top;
    this.area = area;
    this.conf = conf;
    this.port = port;
  }

  URI url() {
    return URI.create("http://127.0.0.1:" + port + "/kms");
  }

  void startJava() throws IOException {
    launch("java", top.resolve("tests/interop/java-kms").toString(), "--offline");
  }

  void startModKms() throws IOException {
    launch("mod_kms", top.resolve("tools/quickstart").toString(), "--no-install");
  }

  private void launch(String kind, String... command) throws IOException {
    String name = kind + "-" + port + "-" + ++starts;
    List<String> words = new ArrayList<>(List.of(command));
    words.addAll(List.of("--conf", conf.toString(), "--port", Integer.toString(port), "--log-dir",
        area.resolve(name).toString()));
    if (kind.equals("java")) {
      words.addAll(List.of("--", "-Xmx192m", "-XX:TieredStopAtLevel=1"));
    }
    Path out = area.resolve(name + ".out");
    process = new ProcessBuilder(words).redirectErrorStream(true).redirectOutput(out.toFile()).start();
    long end = System.currentTimeMillis() + START_LIMIT_MS;
    while (!Files.readString(out).contains("KMS ready")) {
      if (!process.isAlive() || System.currentTimeMillis() > end) {
        throw new IOException(name + " did not start:\n" + Files.readString(out) + logs(name));
      }
      sleep(50);
    }
  }

  /** Whatever a server wrote into its folder of logs. */
  private String logs(String name) throws IOException {
    StringBuilder text = new StringBuilder();
    if (Files.isDirectory(area.resolve(name))) {
      try (var files = Files.list(area.resolve(name))) {
        for (Path file : (Iterable<Path>) files::iterator) {
          text.append(file).append(":\n").append(Files.readString(file));
        }
      }
    }
    return text.toString();
  }

  /** As an administrator would: SIGTERM, and wait. */
  void stop() throws InterruptedException {
    if (process == null) {
      return;
    }
    process.destroy();
    if (!process.waitFor(STOP_LIMIT_S, TimeUnit.SECONDS)) {
      process.destroyForcibly().waitFor();
    }
    process = null;
  }

  record Answer(int status, String reason, String cookie, String body) {}

  /** One request with nothing but the given headers, NAME VALUE NAME VALUE... */
  Answer ask(String method, String pathAndQuery, String... headers) throws IOException {
    HttpURLConnection connection = (HttpURLConnection) new URL(url() + pathAndQuery).openConnection();
    connection.setRequestMethod(method);
    connection.setReadTimeout(20_000);
    for (int i = 0; i < headers.length; i += 2) {
      connection.setRequestProperty(headers[i], headers[i + 1]);
    }
    int status = connection.getResponseCode();
    String cookie = connection.getHeaderField("Set-Cookie");
    try (var stream = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
      String body = stream == null ? "" : new String(stream.readAllBytes(), StandardCharsets.UTF_8);
      return new Answer(status, connection.getResponseMessage(),
          cookie == null ? "" : cookie.substring(0, (cookie + ";").indexOf(';')), body);
    }
  }

  /** A new cookie of this server, as {@code hadoop.auth="..."}. */
  String cookie(String user) throws IOException {
    Answer answer = ask("OPTIONS", "/v1/keys/names?user.name=" + user);
    if (answer.status() != 200 || !answer.cookie().startsWith("hadoop.auth=\"")) {
      throw new IOException(url() + " gave no cookie: " + answer);
    }
    return answer.cookie();
  }

  boolean acceptsCookie(String cookie) throws IOException {
    return ask("GET", "/v1/keys/names", "Cookie", cookie).status() == 200;
  }

  /** A new token, as text. */
  String token(String user, String renewer) throws IOException {
    Answer answer = ask("GET", "/v1/?op=GETDELEGATIONTOKEN&renewer=" + renewer + "&user.name=" + user);
    if (answer.status() != 200) {
      throw new IOException(url() + " gave no token: " + answer);
    }
    return answer.body().replaceAll(".*\"urlString\"\\s*:\\s*\"([^\"]+)\".*\\s*", "$1");
  }

  Answer useToken(String token) throws IOException {
    return ask("GET", "/v1/keys/names", "X-Hadoop-Delegation-Token", token);
  }

  Answer renewToken(String token, String renewer) throws IOException {
    return ask("PUT", "/v1/?op=RENEWDELEGATIONTOKEN&token=" + token + "&user.name=" + renewer);
  }

  Answer cancelToken(String token) throws IOException {
    return ask("PUT", "/v1/?op=CANCELDELEGATIONTOKEN&token=" + token);
  }

  static void sleep(long ms) {
    try {
      Thread.sleep(ms);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
