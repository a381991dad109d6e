// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static modkms.interop.TestKeys.randomBytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.hadoop.crypto.key.KeyProvider;
import org.apache.hadoop.crypto.key.KeyProvider.KeyVersion;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension.EncryptedKeyVersion;
import org.apache.hadoop.crypto.key.KeyProviderFactory;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.apache.hadoop.crypto.key.kms.LoadBalancingKMSClientProvider;
import org.apache.hadoop.security.token.Token;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The client that every kms:// URI leads to: several hosts, round robin, failover, many threads. */
class LoadBalancingClientTest {
  private static final int THREADS = 8;

  private LoadBalancingKMSClientProvider kms;
  private TestKeys keys;

  @BeforeEach
  void connect() throws IOException {
    KeyProvider provider = KeyProviderFactory.get(TestServer.loadBalancingUri(), TestServer.configuration());
    kms = assertInstanceOf(LoadBalancingKMSClientProvider.class, provider);
    keys = new TestKeys(kms);
  }

  @AfterEach
  void deleteKeys() throws IOException {
    keys.close();
  }

  @Test
  void hasOneProviderPerHost() {
    assertEquals(TestServer.hosts().size(), kms.getProviders().length);
  }

  @Test
  @Tag("material")
  void servesEveryOperation() throws Exception {
    String name = keys.name("everything");
    exerciseEveryOperation(kms, name);
    kms.invalidateCache(name);
  }

  @Test
  void goesRound() throws Exception {
    String name = keys.name("round");
    kms.createKey(name, options(128));
    for (int i = 0; i < kms.getProviders().length; i++) {
      kms.generateEncryptedKey(name);
    }
    for (KMSClientProvider provider : kms.getProviders()) {
      assertTrue(provider.getEncKeyQueueSize(name) > 0, provider + " was not asked");
    }
  }

  @Test
  void warmsUpEveryProvider() throws Exception {
    String name = keys.name("warm");
    kms.createKey(name, options(128));
    kms.warmUpEncryptedKeys(name);
    for (KMSClientProvider provider : kms.getProviders()) {
      assertTrue(provider.getEncKeyQueueSize(name) > 0, provider + " was not warmed up");
    }
  }

  @Test
  @Tag("delegation-token")
  void sharesDelegationTokensBetweenHosts() throws Exception {
    Token<?> token = TestServer.as("alice", () -> {
      try (KeyProvider own = KeyProviderFactory.get(TestServer.loadBalancingUri(), TestServer.configuration())) {
        return ((LoadBalancingKMSClientProvider) own).getDelegationToken("alice");
      }
    });
    TestServer.as("alice", () -> {
      for (int i = 0; i < 2 * kms.getProviders().length; i++) {
        assertTrue(kms.renewDelegationToken(token) > System.currentTimeMillis());
      }
      return kms.cancelDelegationToken(token);
    });
  }

  @Test
  void throwsWrongArgumentsAtOnce() throws Exception {
    String name = keys.name("wrong");
    kms.createKey(name, options(128));
    EncryptedKeyVersion eek =
        EncryptedKeyVersion.createForDecryption(name, name + "@5", randomBytes(16), randomBytes(16));
    assertThrows(IllegalArgumentException.class, () -> kms.decryptEncryptedKey(eek));
    assertThrows(IllegalArgumentException.class, () -> kms.createKey(keys.name("Upper"), options(128)));
    IOException twice = assertThrows(IOException.class, () -> kms.createKey(name, options(128)));
    assertTrue(twice.getMessage().contains("already exists"), twice.getMessage());
  }

  @Test
  @Tag("material")
  void readsCreatesAndEncryptsWithADeadServer() throws Exception {
    try (LoadBalancingKMSClientProvider pair = group(deadUrl(), TestServer.url())) {
      String name = keys.name("failover");
      createAndRead(pair, name);
      EncryptedKeyVersion eek = pair.generateEncryptedKey(name);
      for (int i = 0; i < 4; i++) {
        assertEquals(32, pair.decryptEncryptedKey(pair.reencryptEncryptedKey(eek)).getMaterial().length);
      }
    }
  }

  /** The client wants every server to drop its cache, so it reports what it has in fact done as failed. */
  @Test
  @Tag("material")
  void rollsAndDeletesInSpiteOfADeadServer() throws Exception {
    try (LoadBalancingKMSClientProvider pair = group(deadUrl(), TestServer.url())) {
      String name = keys.name("half");
      pair.createKey(name, options(128));
      assertThrows(IOException.class, () -> pair.rollNewVersion(name));
      assertEquals(name + "@1", pair.getCurrentKey(name).getVersionName());
      assertThrows(IOException.class, () -> pair.deleteKey(name));
      assertNull(pair.getMetadata(name));
    }
  }

  /** Needs a second instance on the same store: -Dkms.url2=URL. */
  @Test
  @Tag("material")
  void instancesAgreeOnKeys() throws Exception {
    URI second = TestServer.secondUrl();
    assumeTrue(second != null, "kms.url2 is not set");
    try (LoadBalancingKMSClientProvider pair = group(TestServer.url(), second)) {
      exerciseEveryOperation(pair, keys.name("instances"));
      String name = keys.name("agree");
      pair.createKey(name, options(256));
      KeyVersion rolled = pair.rollNewVersion(name);
      for (KMSClientProvider provider : pair.getProviders()) {
        assertArrayEquals(rolled.getMaterial(), provider.getCurrentKey(name).getMaterial(), provider.toString());
        assertEquals(2, provider.getMetadata(name).getVersions(), provider.toString());
      }
    }
  }

  @Test
  @Tag("material")
  void generatesAndDecryptsFromManyThreads() throws Exception {
    String name = keys.name("threads");
    kms.createKey(name, options(256));
    KeyProviderCryptoExtension local = KnownKey.crypto(kms.getKeyVersions(name));
    inParallel(thread -> {
      for (int i = 0; i < 200; i++) {
        EncryptedKeyVersion eek = kms.generateEncryptedKey(name);
        assertArrayEquals(local.decryptEncryptedKey(eek).getMaterial(), kms.decryptEncryptedKey(eek).getMaterial());
      }
    });
  }

  @Test
  @Tag("material")
  void createsAndRollsDifferentKeysFromManyThreads() throws Exception {
    List<String> names = new ArrayList<>();
    for (int thread = 0; thread < THREADS; thread++) {
      names.add(keys.name("parallel-" + thread));
    }
    inParallel(thread -> {
      String name = names.get(thread);
      kms.createKey(name, options(128));
      byte[] dek = kms.decryptEncryptedKey(kms.generateEncryptedKey(name)).getMaterial();
      assertEquals(16, dek.length);
      assertEquals(name + "@1", kms.rollNewVersion(name).getVersionName());
      assertEquals(name + "@1", kms.getCurrentKey(name).getVersionName());
    });
    assertTrue(kms.getKeys().containsAll(names));
  }

  /** Rolls of one key at once: each gets a version of its own and none is lost. */
  @Test
  @Tag("material")
  void rollsOneKeyFromManyThreads() throws Exception {
    String name = keys.name("contended");
    kms.createKey(name, options(128));
    List<String> rolled = new ArrayList<>();
    inParallel(thread -> {
      KeyVersion version = kms.rollNewVersion(name);
      assertArrayEquals(version.getMaterial(), kms.getKeyVersion(version.getVersionName()).getMaterial());
      synchronized (rolled) {
        rolled.add(version.getVersionName());
      }
    });
    assertEquals(THREADS, rolled.stream().distinct().count(), rolled.toString());
    assertEquals(THREADS + 1, kms.getKeyVersions(name).size());
    assertEquals(name + "@" + THREADS, kms.getCurrentKey(name).getVersionName());
  }

  private static void exerciseEveryOperation(LoadBalancingKMSClientProvider kms, String name) throws Exception {
    createAndRead(kms, name);
    EncryptedKeyVersion eek = kms.generateEncryptedKey(name);
    byte[] dek = kms.decryptEncryptedKey(eek).getMaterial();
    KeyVersion rolled = kms.rollNewVersion(name);
    assertEquals(name + "@1", rolled.getVersionName());
    for (int i = 0; i < 2 * kms.getProviders().length; i++) {
      assertArrayEquals(rolled.getMaterial(), kms.getCurrentKey(name).getMaterial());
      assertArrayEquals(dek, kms.decryptEncryptedKey(kms.reencryptEncryptedKey(eek)).getMaterial());
    }
    List<EncryptedKeyVersion> batch = new ArrayList<>(List.of(eek));
    kms.reencryptEncryptedKeys(batch);
    assertEquals(name + "@1", batch.get(0).getEncryptionKeyVersionName());
    assertArrayEquals(dek, kms.decryptEncryptedKey(batch.get(0)).getMaterial());
    kms.deleteKey(name);
    for (int i = 0; i < 2 * kms.getProviders().length; i++) {
      assertNull(kms.getMetadata(name));
    }
  }

  /** Reads twice as often as there are servers, so that each is asked at least once whatever the order. */
  private static void createAndRead(LoadBalancingKMSClientProvider kms, String name) throws Exception {
    byte[] material = randomBytes(32);
    KeyVersion created = kms.createKey(name, material, options(256));
    assertEquals(name + "@0", created.getVersionName());
    for (int i = 0; i < 2 * kms.getProviders().length; i++) {
      assertArrayEquals(material, kms.getCurrentKey(name).getMaterial());
      assertArrayEquals(material, kms.getKeyVersion(name + "@0").getMaterial());
      assertEquals(1, kms.getKeyVersions(name).size());
      assertEquals(256, kms.getMetadata(name).getBitLength());
      assertEquals(256, kms.getKeysMetadata(name)[0].getBitLength());
      assertTrue(kms.getKeys().contains(name));
    }
  }

  /** A KMS on a port of this host where nobody listens. */
  private static URI deadUrl() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return URI.create("http://127.0.0.1:" + socket.getLocalPort() + "/kms");
    }
  }

  private static LoadBalancingKMSClientProvider group(URI... urls) throws IOException {
    KMSClientProvider[] providers = new KMSClientProvider[urls.length];
    for (int i = 0; i < urls.length; i++) {
      providers[i] = new KMSClientProvider(TestServer.providerUri(urls[i]), TestServer.configuration());
    }
    return new LoadBalancingKMSClientProvider(TestServer.providerUri(urls[0]), providers, TestServer.configuration());
  }

  private interface Work {
    void run(int thread) throws Exception;
  }

  private static void inParallel(Work work) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(THREADS);
    try {
      List<Callable<Void>> tasks = new ArrayList<>();
      for (int i = 0; i < THREADS; i++) {
        int thread = i;
        tasks.add(() -> {
          work.run(thread);
          return null;
        });
      }
      for (Future<Void> result : pool.invokeAll(tasks)) {
        result.get();
      }
    } finally {
      pool.shutdownNow();
    }
  }
}
