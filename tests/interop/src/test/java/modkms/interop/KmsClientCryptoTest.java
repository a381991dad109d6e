// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static modkms.interop.TestKeys.randomBytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import org.apache.hadoop.crypto.key.KeyProvider.KeyVersion;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension.EncryptedKeyVersion;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Encrypted keys through KMSClientProvider, each checked against Hadoop's own crypto in this process. */
class KmsClientCryptoTest {
  private KMSClientProvider kms;
  private TestKeys keys;

  @BeforeEach
  void connect() throws IOException {
    kms = TestServer.client();
    keys = new TestKeys(kms);
  }

  @AfterEach
  void deleteKeys() throws IOException {
    keys.close();
  }

  @ParameterizedTest
  @ValueSource(ints = {128, 192, 256})
  @Tag("material")
  void decryptsWhatItGenerated(int bits) throws Exception {
    String name = keys.name("generate");
    byte[] material = randomBytes(bits / 8);
    kms.createKey(name, material, options(bits));
    KeyProviderCryptoExtension local = localCrypto(name);
    Set<String> deks = new HashSet<>();
    Set<String> ivs = new HashSet<>();
    for (int i = 0; i < 50; i++) {
      EncryptedKeyVersion eek = kms.generateEncryptedKey(name);
      assertEquals(name, eek.getEncryptionKeyName());
      assertEquals(name + "@0", eek.getEncryptionKeyVersionName());
      assertEquals("EEK", eek.getEncryptedKeyVersion().getVersionName());
      assertEquals(16, eek.getEncryptedKeyIv().length);
      assertEquals(bits / 8, eek.getEncryptedKeyVersion().getMaterial().length);
      KeyVersion dek = kms.decryptEncryptedKey(eek);
      assertEquals("EK", dek.getVersionName());
      assertArrayEquals(local.decryptEncryptedKey(eek).getMaterial(), dek.getMaterial());
      deks.add(HexFormat.of().formatHex(dek.getMaterial()));
      ivs.add(HexFormat.of().formatHex(eek.getEncryptedKeyIv()));
    }
    assertEquals(50, deks.size());
    assertEquals(50, ivs.size());
  }

  @Test
  @Tag("material")
  void decryptsWhatJavaEncrypted() throws Exception {
    String name = keys.name("local");
    kms.createKey(name, options(256));
    KeyProviderCryptoExtension local = localCrypto(name);
    for (int i = 0; i < 20; i++) {
      EncryptedKeyVersion eek = local.generateEncryptedKey(name);
      assertArrayEquals(local.decryptEncryptedKey(eek).getMaterial(), kms.decryptEncryptedKey(eek).getMaterial());
    }
  }

  @Test
  @Tag("material")
  void decryptsAcrossTheWrapOfTheCounter() throws Exception {
    String name = keys.name("wrap");
    kms.createKey(name, options(256));
    KeyProviderCryptoExtension local = localCrypto(name);
    EncryptedKeyVersion eek = encrypted(name, name + "@0", new byte[16], randomBytes(32));
    assertArrayEquals(local.decryptEncryptedKey(eek).getMaterial(), kms.decryptEncryptedKey(eek).getMaterial());
  }

  @Test
  void decryptsKeysOfOldVersionsAfterRolls() throws Exception {
    String name = keys.name("old");
    kms.createKey(name, options(128));
    EncryptedKeyVersion eek = kms.generateEncryptedKey(name);
    byte[] dek = kms.decryptEncryptedKey(eek).getMaterial();
    for (int i = 0; i < 3; i++) {
      kms.rollNewVersion(name);
    }
    assertArrayEquals(dek, kms.decryptEncryptedKey(eek).getMaterial());
  }

  @Test
  @Tag("material")
  void generatesWithTheNewVersionAfterARoll() throws Exception {
    String name = keys.name("fresh");
    kms.createKey(name, options(128));
    kms.generateEncryptedKey(name);
    kms.rollNewVersion(name);
    kms.drain(name);
    kms.invalidateCache(name);
    EncryptedKeyVersion eek = kms.generateEncryptedKey(name);
    // A filler that ran during the roll may have left a few of the old version in a queue.
    for (int i = 0; i < 600 && eek.getEncryptionKeyVersionName().endsWith("@0"); i++) {
      eek = kms.generateEncryptedKey(name);
    }
    assertEquals(name + "@1", eek.getEncryptionKeyVersionName());
    byte[] expected = localCrypto(name).decryptEncryptedKey(eek).getMaterial();
    assertArrayEquals(expected, kms.decryptEncryptedKey(eek).getMaterial());
  }

  @Test
  @Tag("material")
  void reencryptsOneKey() throws Exception {
    String name = keys.name("reencrypt");
    kms.createKey(name, options(192));
    EncryptedKeyVersion eek = kms.generateEncryptedKey(name);
    byte[] dek = kms.decryptEncryptedKey(eek).getMaterial();

    EncryptedKeyVersion same = kms.reencryptEncryptedKey(eek);
    assertEquals(name + "@0", same.getEncryptionKeyVersionName());
    assertArrayEquals(eek.getEncryptedKeyVersion().getMaterial(), same.getEncryptedKeyVersion().getMaterial());

    kms.rollNewVersion(name);
    EncryptedKeyVersion moved = kms.reencryptEncryptedKey(eek);
    assertEquals(name + "@1", moved.getEncryptionKeyVersionName());
    assertArrayEquals(eek.getEncryptedKeyIv(), moved.getEncryptedKeyIv());
    KeyProviderCryptoExtension local = localCrypto(name);
    assertArrayEquals(local.reencryptEncryptedKey(eek).getEncryptedKeyVersion().getMaterial(),
        moved.getEncryptedKeyVersion().getMaterial());
    assertArrayEquals(dek, local.decryptEncryptedKey(moved).getMaterial());
    assertArrayEquals(dek, kms.decryptEncryptedKey(moved).getMaterial());
  }

  @Test
  @Tag("material")
  void reencryptsABatch() throws Exception {
    String name = keys.name("batch");
    kms.createKey(name, options(128));
    KeyProviderCryptoExtension before = localCrypto(name);
    List<EncryptedKeyVersion> batch = new ArrayList<>();
    for (int i = 0; i < 400; i++) {
      batch.add(before.generateEncryptedKey(name));
    }
    kms.rollNewVersion(name);
    KeyProviderCryptoExtension after = localCrypto(name);
    for (int i = 0; i < 200; i++) {
      batch.add(2 * i, after.generateEncryptedKey(name));
    }
    List<EncryptedKeyVersion> given = List.copyOf(batch);
    kms.reencryptEncryptedKeys(batch);

    assertEquals(600, batch.size());
    for (int i = 0; i < 600; i++) {
      EncryptedKeyVersion moved = batch.get(i);
      assertEquals(name + "@1", moved.getEncryptionKeyVersionName());
      assertArrayEquals(given.get(i).getEncryptedKeyIv(), moved.getEncryptedKeyIv());
      byte[] dek = after.decryptEncryptedKey(given.get(i)).getMaterial();
      assertArrayEquals(dek, after.decryptEncryptedKey(moved).getMaterial());
    }
    byte[] first = after.decryptEncryptedKey(given.get(0)).getMaterial();
    assertArrayEquals(first, kms.decryptEncryptedKey(batch.get(0)).getMaterial());
  }

  @Test
  void reencryptsAnEmptyBatch() throws Exception {
    List<EncryptedKeyVersion> none = new ArrayList<>();
    kms.reencryptEncryptedKeys(none);
    assertTrue(none.isEmpty());
  }

  @Test
  void warmsUpTheClientsQueue() throws Exception {
    String name = keys.name("warm");
    kms.createKey(name, options(128));
    kms.warmUpEncryptedKeys(name);
    assertTrue(kms.getEncKeyQueueSize(name) > 0);
  }

  @Test
  void refusesToGenerateForMissingKey() {
    String name = keys.name("missing");
    assertThrows(IOException.class, () -> kms.generateEncryptedKey(name));
  }

  @Test
  void refusesVersionsThatDoNotExistOrBelongToAnotherKey() throws Exception {
    String name = keys.name("wrong");
    String other = keys.name("other");
    kms.createKey(name, options(128));
    kms.createKey(other, options(128));
    EncryptedKeyVersion missing = encrypted(name, name + "@7", randomBytes(16), randomBytes(16));
    EncryptedKeyVersion foreign = encrypted(name, other + "@0", randomBytes(16), randomBytes(16));
    for (EncryptedKeyVersion eek : List.of(missing, foreign)) {
      assertThrows(IllegalArgumentException.class, () -> kms.decryptEncryptedKey(eek));
      assertThrows(IllegalArgumentException.class, () -> kms.reencryptEncryptedKey(eek));
      List<EncryptedKeyVersion> batch = new ArrayList<>(Arrays.asList(kms.generateEncryptedKey(name), eek));
      assertThrows(IllegalArgumentException.class, () -> kms.reencryptEncryptedKeys(batch));
    }
  }

  @Test
  void refusesWrongLengthOfIv() throws Exception {
    String name = keys.name("iv");
    kms.createKey(name, options(128));
    EncryptedKeyVersion eek = encrypted(name, name + "@0", randomBytes(15), randomBytes(16));
    IOException e = assertThrows(IOException.class, () -> kms.decryptEncryptedKey(eek));
    assertTrue(e.getMessage().contains("IV"), e.getMessage());
  }

  private KeyProviderCryptoExtension localCrypto(String name) throws IOException {
    return KnownKey.crypto(kms.getKeyVersions(name));
  }

  private static EncryptedKeyVersion encrypted(String name, String version, byte[] iv, byte[] material) {
    return EncryptedKeyVersion.createForDecryption(name, version, iv, material);
  }
}
