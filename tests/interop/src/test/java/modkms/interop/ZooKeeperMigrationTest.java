// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.KeyProvider;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension.EncryptedKeyVersion;
import org.apache.hadoop.crypto.key.KeyProviderFactory;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.apache.hadoop.crypto.key.kms.LoadBalancingKMSClientProvider;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.security.token.Token;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;

/**
 * A cluster of two Java KMS nodes on one ZooKeeper becomes one of mod_kms, node after node, while clients work. Its
 * own servers: needs -Dkms.zookeeper=HOST:PORT and -Dkms.top=DIR, see run-zookeeper.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ZooKeeperMigrationTest {
  private static final String KEY = "migration";
  private static final int CLIENTS = 4;
  private static final int PERIOD_S = 6;
  private static final String SIGNER = "hadoop.kms.authentication.signer.secret.provider";
  private static final String TOKENS = "hadoop.kms.authentication.zk-dt-secret-manager.";
  private static final String LIVES = "hadoop.kms.authentication.delegation-token.";

  private Path area;
  private KmsNode first;
  private KmsNode second;
  private String oldToken;
  private Token<?> clientToken;

  @BeforeAll
  void startTwoJavaNodes() throws Exception {
    String zookeeper = System.getProperty("kms.zookeeper", "");
    assumeTrue(!zookeeper.isEmpty(), "kms.zookeeper is not set");
    Path top = Path.of(System.getProperty("kms.top"));
    area = Files.createTempDirectory("kms-migration");
    Path conf = Files.createDirectory(area.resolve("conf"));
    writeConfiguration(conf, zookeeper);
    first = new KmsNode(top, area, conf, freePort());
    second = new KmsNode(top, area, conf, freePort());
    first.startJava();
    second.startJava();
    oldToken = first.token("alice", "yarn");
    clientToken = TestServer.as("alice", () -> {
      try (LoadBalancingKMSClientProvider kms = cluster()) {
        return kms.getDelegationToken("yarn");
      }
    });
  }

  @AfterAll
  void stopAll() throws Exception {
    for (KmsNode node : new KmsNode[] {first, second}) {
      if (node != null) {
        node.stop();
      }
    }
  }

  @Test
  @Order(1)
  void firstNodeChangesUnderLoad() throws Exception {
    changeUnderLoad(first);
  }

  @Test
  @Order(2)
  void cookiesCross() throws Exception {
    for (int i = 0; i < 5; i++) {
      assertTrue(second.acceptsCookie(first.cookie("alice")));
      assertTrue(first.acceptsCookie(second.cookie("alice")));
    }
    String forged = first.cookie("alice").replace("u=alice", "u=bob");
    assertEquals(false, second.acceptsCookie(forged));
  }

  @Test
  @Order(3)
  void tokensCross() throws Exception {
    for (KmsNode[] pair : new KmsNode[][] {{first, second}, {second, first}}) {
      String token = pair[0].token("alice", "yarn");
      assertEquals(200, pair[1].useToken(token).status());
      assertEquals(200, pair[0].useToken(token).status());
      KmsNode.Answer renewed = pair[1].renewToken(token, "yarn");
      assertEquals(200, renewed.status(), renewed.toString());
      assertTrue(renewed.body().contains("\"long\""), renewed.body());
      assertEquals(403, pair[1].renewToken(token, "mallory").status());
      assertEquals(200, pair[0].renewToken(token, "yarn").status());

      assertEquals(200, pair[1].cancelToken(token).status());
      assertEquals(403, pair[1].useToken(token).status());
      assertRefusedWithin(pair[0], token, 1000);
      assertEquals(404, pair[0].cancelToken(token).status());
    }
  }

  /** Secrets and master keys roll several times, on both; no node ever refuses what the other has just given. */
  @Test
  @Order(4)
  void keysRollOnBoth() throws Exception {
    int cookies = 0;
    int tokens = 0;
    List<String> refused = new ArrayList<>();
    long begin = System.currentTimeMillis();
    String aged = second.token("alice", "yarn");
    while (System.currentTimeMillis() - begin < 3 * PERIOD_S * 1000L + 1000) {
      for (KmsNode[] pair : new KmsNode[][] {{first, second}, {second, first}}) {
        cookies++;
        if (!pair[1].acceptsCookie(pair[0].cookie("alice"))) {
          refused.add("a cookie of " + pair[0].url() + " after " + (System.currentTimeMillis() - begin) + " ms");
        }
        tokens++;
        String token = pair[0].token("alice", "yarn");
        KmsNode.Answer used = pair[1].useToken(token);
        KmsNode.Answer renewed = pair[1].renewToken(token, "yarn");
        KmsNode.Answer old = pair[1].renewToken(aged, "yarn");
        if (used.status() != 200 || renewed.status() != 200 || old.status() != 200) {
          refused.add("a token of " + pair[0].url() + ": " + used + renewed + old);
        }
      }
      KmsNode.sleep(20);
    }
    System.out.println("keys rolled: " + cookies + " cookies, " + tokens + " tokens, refused: " + refused.size());
    assertEquals(List.of(), refused);
  }

  @Test
  @Order(5)
  void secondNodeChangesUnderLoad() throws Exception {
    changeUnderLoad(second);
  }

  @Test
  @Order(6)
  void whatJavaGaveIsGoodOnModKms() throws Exception {
    for (KmsNode node : new KmsNode[] {first, second}) {
      assertEquals(200, node.useToken(oldToken).status());
      assertEquals(200, node.renewToken(oldToken, "yarn").status());
    }
    assertEquals(200, second.cancelToken(oldToken).status());
    assertRefusedWithin(first, oldToken, 1000);
  }

  /** And back, should somebody want to. */
  @Test
  @Order(7)
  void firstNodeGoesBackUnderLoad() throws Exception {
    String token = first.token("alice", "yarn");
    load(() -> {
      first.stop();
      first.startJava();
    });
    assertEquals(200, first.useToken(token).status());
    assertEquals(200, first.renewToken(token, "yarn").status());
    assertTrue(first.acceptsCookie(second.cookie("alice")));
    assertTrue(second.acceptsCookie(first.cookie("alice")));
  }

  private void assertRefusedWithin(KmsNode node, String token, long ms) throws Exception {
    long end = System.currentTimeMillis() + ms;
    while (node.useToken(token).status() != 403) {
      assertTrue(System.currentTimeMillis() < end, node.url() + " goes on with a cancelled token");
      KmsNode.sleep(20);
    }
  }

  private void changeUnderLoad(KmsNode node) throws Exception {
    load(() -> {
      node.stop();
      node.startModKms();
    });
  }

  private interface Change {
    void run() throws Exception;
  }

  /** Clients with cookies and clients with a token work while a node changes; not one call may fail. */
  private void load(Change change) throws Exception {
    AtomicInteger made = new AtomicInteger();
    List<String> failed = new ArrayList<>();
    boolean[] over = {false};
    List<Thread> clients = new ArrayList<>();
    for (int i = 0; i < CLIENTS; i++) {
      UserGroupInformation user = UserGroupInformation.createRemoteUser("alice");
      if (i % 2 == 0) {
        user.addToken(clientToken);
      }
      Thread client = new Thread(() -> user.doAs((java.security.PrivilegedAction<Void>) () -> {
        work(made, failed, over);
        return null;
      }));
      client.start();
      clients.add(client);
    }
    try {
      KmsNode.sleep(1000);
      change.run();
      KmsNode.sleep(2000);
    } finally {
      synchronized (over) {
        over[0] = true;
      }
      for (Thread client : clients) {
        client.join();
      }
    }
    System.out.println("under load: " + made + " calls, failed: " + failed.size());
    assertEquals(List.of(), failed);
    assertTrue(made.get() > 100, made.toString());
  }

  private void work(AtomicInteger made, List<String> failed, boolean[] over) {
    try (LoadBalancingKMSClientProvider kms = cluster()) {
      EncryptedKeyVersion eek = kms.generateEncryptedKey(KEY);
      byte[] dek = kms.decryptEncryptedKey(eek).getMaterial();
      while (true) {
        synchronized (over) {
          if (over[0]) {
            return;
          }
        }
        made.incrementAndGet();
        try {
          assertArrayEquals(dek, kms.decryptEncryptedKey(eek).getMaterial());
        } catch (Exception e) {
          synchronized (failed) {
            failed.add(e.toString());
          }
        }
      }
    } catch (Exception e) {
      synchronized (failed) {
        failed.add("at the start: " + e);
      }
    }
  }

  private LoadBalancingKMSClientProvider cluster() throws IOException {
    Configuration conf = TestServer.configuration();
    KMSClientProvider[] providers = {
        new KMSClientProvider(TestServer.providerUri(first.url()), conf),
        new KMSClientProvider(TestServer.providerUri(second.url()), conf)};
    return new LoadBalancingKMSClientProvider(TestServer.providerUri(first.url()), providers, conf);
  }

  private void writeConfiguration(Path conf, String zookeeper) throws Exception {
    Path keystore = conf.resolve("kms.keystore");
    String provider = "jceks://file@" + keystore;
    KeyProvider keys = KeyProviderFactory.get(URI.create(provider), new Configuration());
    keys.createKey(KEY, options(128));
    keys.flush();
    write(conf.resolve("kms-site.xml"), Map.ofEntries(
        Map.entry("hadoop.kms.http.host", "127.0.0.1"),
        Map.entry("hadoop.kms.key.provider.uri", provider),
        Map.entry("hadoop.kms.authentication.type", "simple"),
        Map.entry("hadoop.kms.authentication.token.validity", Integer.toString(PERIOD_S)),
        Map.entry(SIGNER, "zookeeper"),
        Map.entry(SIGNER + ".zookeeper.connection.string", zookeeper),
        Map.entry(SIGNER + ".zookeeper.path", "/migration-" + area.getFileName() + "/secret"),
        Map.entry(SIGNER + ".zookeeper.auth.type", "none"),
        Map.entry(TOKENS + "enable", "true"),
        Map.entry(TOKENS + "zkConnectionString", zookeeper),
        Map.entry(TOKENS + "zkAuthType", "none"),
        Map.entry(TOKENS + "znodeWorkingPath", "migration-" + area.getFileName() + "/dt"),
        Map.entry(LIVES + "update-interval.sec", Integer.toString(PERIOD_S)),
        Map.entry("hadoop.tmp.dir", area.resolve("tmp").toString())));
    write(conf.resolve("core-site.xml"), Map.of());
    write(conf.resolve("kms-acls.xml"), Map.of("default.key.acl.MANAGEMENT", "*", "default.key.acl.READ", "*",
        "default.key.acl.GENERATE_EEK", "*", "default.key.acl.DECRYPT_EEK", "*"));
  }

  private static void write(Path file, Map<String, String> properties) throws IOException {
    StringBuilder xml = new StringBuilder("<?xml version=\"1.0\"?>\n<configuration>\n");
    properties.forEach((name, value) -> xml.append("  <property><name>").append(name).append("</name><value>")
        .append(value).append("</value></property>\n"));
    Files.writeString(file, xml.append("</configuration>\n").toString());
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }
}
