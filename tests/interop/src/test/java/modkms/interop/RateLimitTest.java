// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension.EncryptedKeyVersion;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.apache.hadoop.crypto.key.kms.LoadBalancingKMSClientProvider;
import org.apache.hadoop.ipc.StandbyException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * What clients notice of KMSRateLimit. Needs -Dkms.limited.url=URL, an instance on the same store as kms.url that lets each user
 * decrypt three times at once and then once in three seconds. Each test is another user there.
 */
class RateLimitTest {
  private static final int BURST = 3;
  private static final String FAILOVER = "hadoop.security.kms.client.failover.";

  private URI limited;
  private KMSClientProvider owner;
  private TestKeys keys;
  private EncryptedKeyVersion eek;
  private byte[] dek;

  @BeforeEach
  void makeKey() throws Exception {
    String url = System.getProperty("kms.limited.url", "");
    assumeTrue(!url.isEmpty(), "kms.limited.url is not set");
    limited = URI.create(url);
    owner = TestServer.client();
    keys = new TestKeys(owner);
    String name = keys.name("limited");
    owner.createKey(name, options(128));
    eek = owner.generateEncryptedKey(name);
    dek = owner.decryptEncryptedKey(eek).getMaterial();
  }

  @AfterEach
  void deleteKey() throws IOException {
    if (owner != null) {
      keys.close();
      owner.close();
    }
  }

  @Test
  void oneServerAloneSaysSo() throws Exception {
    TestServer.as("limited-alone", () -> {
      try (KMSClientProvider kms = provider(limited, TestServer.configuration())) {
        decrypt(kms, BURST);
        StandbyException refused = assertThrows(StandbyException.class, () -> decrypt(kms, 1));
        assertTrue(refused.getMessage().contains("Too many requests for this user"), refused.getMessage());
        assertTrue(kms.getMetadata(eek.getEncryptionKeyName()) != null, "other operations go on");
        return null;
      }
    });
  }

  @Test
  void anotherServerIsAskedAtOnce() throws Exception {
    TestServer.as("limited-pair", () -> {
      try (LoadBalancingKMSClientProvider kms = group(TestServer.configuration(), limited, TestServer.url())) {
        decrypt(kms, 10 * BURST);
        return null;
      }
    });
  }

  /** The number of tries is the number of servers and one more; the pause between them is not what Retry-After says. */
  @Test
  void withoutMoreTriesTheCallFails() throws Exception {
    TestServer.as("limited-default", () -> {
      try (LoadBalancingKMSClientProvider kms = group(TestServer.configuration(), limited)) {
        decrypt(kms, BURST);
        long begin = System.nanoTime();
        assertThrows(StandbyException.class, () -> decrypt(kms, 1));
        System.out.printf("rate limit: one server, default: refused after %d ms%n", (System.nanoTime() - begin) / 1_000_000);
        return null;
      }
    });
  }

  @Test
  void withMoreTriesTheClientWaits() throws Exception {
    Configuration patient = TestServer.configuration();
    patient.setInt(FAILOVER + "max.retries", 10);
    TestServer.as("limited-patient", () -> {
      try (LoadBalancingKMSClientProvider kms = group(patient, limited)) {
        decrypt(kms, BURST);
        long begin = System.nanoTime();
        decrypt(kms, 2);
        System.out.printf("rate limit: one server, 10 retries: two calls more took %d ms%n",
            (System.nanoTime() - begin) / 1_000_000);
        return null;
      }
    });
  }

  /** Exhausted on both servers, which count each for itself; all callers together get what both let pass. */
  @Test
  void allServersLimited() throws Exception {
    Configuration patient = TestServer.configuration();
    patient.setInt(FAILOVER + "max.retries", 10);
    TestServer.as("limited-both", () -> {
      try (LoadBalancingKMSClientProvider kms = group(patient, limited, limited)) {
        assertEquals(2, kms.getProviders().length);
        decrypt(kms, BURST + 1);
        return null;
      }
    });
  }

  private interface Decrypts {
    byte[] decrypt(EncryptedKeyVersion eek) throws Exception;
  }

  private void decrypt(KMSClientProvider kms, int times) throws Exception {
    repeat(e -> kms.decryptEncryptedKey(e).getMaterial(), times);
  }

  private void decrypt(LoadBalancingKMSClientProvider kms, int times) throws Exception {
    repeat(e -> kms.decryptEncryptedKey(e).getMaterial(), times);
  }

  private void repeat(Decrypts kms, int times) throws Exception {
    for (int i = 0; i < times; i++) {
      assertArrayEquals(dek, kms.decrypt(eek));
    }
  }

  private static KMSClientProvider provider(URI url, Configuration conf) throws IOException {
    return new KMSClientProvider(TestServer.providerUri(url), conf);
  }

  private static LoadBalancingKMSClientProvider group(Configuration conf, URI... urls) throws IOException {
    KMSClientProvider[] providers = new KMSClientProvider[urls.length];
    for (int i = 0; i < urls.length; i++) {
      providers[i] = provider(urls[i], conf);
    }
    return new LoadBalancingKMSClientProvider(TestServer.providerUri(urls[0]), providers, conf);
  }
}
