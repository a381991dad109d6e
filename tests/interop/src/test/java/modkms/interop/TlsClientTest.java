// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static modkms.interop.TestKeys.randomBytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import javax.net.ssl.SSLHandshakeException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.KeyProvider;
import org.apache.hadoop.crypto.key.KeyProvider.KeyVersion;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension.EncryptedKeyVersion;
import org.apache.hadoop.crypto.key.KeyProviderFactory;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.apache.hadoop.crypto.key.kms.LoadBalancingKMSClientProvider;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The client with {@code kms://https@...} and an ssl-client.xml, with and without a certificate of its own. */
class TlsClientTest {
  @BeforeEach
  void needsServers() {
    TlsServer.assumeThere();
  }

  @Test
  void servesEveryOperation() throws Exception {
    useEverything(TlsServer.first(), TlsServer.configuration());
  }

  /** The first is what Hadoop's clients have by default. */
  @ParameterizedTest
  @ValueSource(strings = {"TLSv1.2", "TLSv1.3", "TLSv1.2,TLSv1.3"})
  void speaksEveryVersionThatIsSafe(String versions) throws Exception {
    Configuration conf = TlsServer.configuration();
    conf.set("hadoop.ssl.enabled.protocols", versions);
    useEverything(TlsServer.first(), conf);
  }

  @Test
  void refusesAServerThatItDoesNotTrust() throws Exception {
    try (KMSClientProvider kms =
        TlsServer.client(TlsServer.first(), TlsServer.configuration("other-truststore.jks", false))) {
      assertThrows(SSLHandshakeException.class, kms::getKeys);
    }
  }

  @Test
  void isFoundByTheProviderFactory() throws Exception {
    try (KeyProvider provider = KeyProviderFactory.get(TlsServer.pair(), TlsServer.configuration())) {
      assertEquals(2, assertInstanceOf(LoadBalancingKMSClientProvider.class, provider).getProviders().length);
      provider.getKeys();
    }
  }

  @Test
  void speaksMutualTls() throws Exception {
    useEverything(TlsServer.mutual(), TlsServer.configuration("truststore.jks", true));
  }

  /** A user with a certificate is still the user who calls, not the one that the certificate names. */
  @Test
  void isTheCallerWhateverTheCertificateSays() throws Exception {
    TestServer.as("alice", () -> {
      try (KMSClientProvider kms =
          TlsServer.client(TlsServer.mutual(), TlsServer.configuration("truststore.jks", true))) {
        kms.getKeys();
      }
      return null;
    });
  }

  @Test
  void isRefusedWithoutACertificate() throws Exception {
    try (KMSClientProvider kms = TlsServer.client(TlsServer.mutual(), TlsServer.configuration())) {
      assertThrows(IOException.class, kms::getKeys);
    }
  }

  /** What a client without TLS sees: no answer that it could take for one of a KMS. */
  @Test
  void isRefusedWithoutTls() throws Exception {
    URI plain = URI.create(TlsServer.first().toString().replace("https@", "http@"));
    try (KMSClientProvider kms = TlsServer.client(plain, TlsServer.configuration())) {
      IOException refusal = assertThrows(IOException.class, kms::getKeys);
      assertEquals(false, refusal instanceof ConnectException, refusal.toString());
    }
  }

  private static void useEverything(URI uri, Configuration conf) throws Exception {
    KMSClientProvider kms = TlsServer.client(uri, conf);
    try (TestKeys keys = new TestKeys(kms)) {
      String name = keys.name("tls");
      byte[] material = randomBytes(32);
      assertEquals(name + "@0", kms.createKey(name, material, options(256)).getVersionName());
      EncryptedKeyVersion eek = kms.generateEncryptedKey(name);
      byte[] dek = kms.decryptEncryptedKey(eek).getMaterial();
      KeyVersion rolled = kms.rollNewVersion(name);
      assertArrayEquals(rolled.getMaterial(), kms.getCurrentKey(name).getMaterial());
      assertArrayEquals(material, kms.getKeyVersion(name + "@0").getMaterial());
      assertArrayEquals(dek, kms.decryptEncryptedKey(kms.reencryptEncryptedKey(eek)).getMaterial());
      // Some 200 KB in one request, and as much back.
      List<EncryptedKeyVersion> batch = new ArrayList<>();
      for (int i = 0; i < 1000; i++) {
        batch.add(eek);
      }
      kms.reencryptEncryptedKeys(batch);
      assertArrayEquals(dek, kms.decryptEncryptedKey(batch.get(999)).getMaterial());
    }
  }
}
