// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static modkms.interop.TestKeys.randomBytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.security.InvalidParameterException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.crypto.key.KeyProvider;
import org.apache.hadoop.crypto.key.KeyProvider.KeyVersion;
import org.apache.hadoop.crypto.key.KeyProvider.Metadata;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Key management through KMSClientProvider, the client class under every Hadoop service. */
class KmsClientKeysTest {
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
  void createsKeyWithGeneratedMaterial(int bits) throws Exception {
    String name = keys.name("generated");
    KeyVersion created = kms.createKey(name, options(bits));
    assertEquals(name, created.getName());
    assertEquals(name + "@0", created.getVersionName());
    assertEquals(bits / 8, created.getMaterial().length);
    assertVersion(created, kms.getCurrentKey(name));
    assertEquals(bits, kms.getMetadata(name).getBitLength());
  }

  @ParameterizedTest
  @ValueSource(ints = {128, 192, 256})
  @Tag("material")
  void createsKeyWithGivenMaterial(int bits) throws Exception {
    String name = keys.name("given");
    byte[] material = randomBytes(bits / 8);
    KeyVersion created = kms.createKey(name, material, options(bits));
    assertArrayEquals(material, created.getMaterial());
    assertVersion(created, kms.getCurrentKey(name));
    assertVersion(created, kms.getKeyVersion(name + "@0"));
    List<KeyVersion> versions = kms.getKeyVersions(name);
    assertEquals(1, versions.size());
    assertVersion(created, versions.get(0));
  }

  @ParameterizedTest
  @ValueSource(strings = {"a/b", "a/b/_c", "a//b", "a@b", "a%b", "a%2fb", "a%40b", "a+b", "a&b=c", "a;b", "a?b#c",
    "a:b", "a..b", "a,b", "a=b~c!$*()", "<b>", "quote\"'back\\slash", "\u043a\u043b\u044e\u0447-\u00e9",
    "\u30ad\u30fc", "\ud83d\udd11"})
  @Tag("material")
  void acceptsNameWith(String suffix) throws Exception {
    String name = keys.name(suffix);
    byte[] material = randomBytes(16);
    KeyVersion created = kms.createKey(name, material, options(128));
    assertEquals(name + "@0", created.getVersionName());
    assertVersion(created, kms.getCurrentKey(name));
    assertVersion(created, kms.getKeyVersion(name + "@0"));
    assertEquals(1, kms.getMetadata(name).getVersions());
    assertNotNull(kms.getKeysMetadata(name)[0]);
    // The list of a Java keystore leaves out names with '@', which it takes for versions.
    if (!suffix.contains("@")) {
      assertTrue(kms.getKeys().contains(name), name);
    }
    KeyVersion rolled = kms.rollNewVersion(name);
    assertEquals(name + "@1", rolled.getVersionName());
    kms.invalidateCache(name);
    assertVersion(rolled, kms.getCurrentKey(name));
    assertEquals(name, kms.generateEncryptedKey(name).getEncryptionKeyName());
    assertEquals(16, kms.decryptEncryptedKey(kms.generateEncryptedKey(name)).getMaterial().length);
    kms.deleteKey(name);
    assertNull(kms.getMetadata(name));
  }

  @Test
  void keepsDescriptionAndAttributes() throws Exception {
    String name = keys.name("described");
    KeyProvider.Options options = options(128);
    options.setDescription("Schl\u00fcssel \ud83d\udd11 \"quoted\"\ttab\nline \\ </x>");
    Map<String, String> attributes = new LinkedHashMap<>();
    attributes.put("owner", "J\u00f6rg");
    attributes.put("\u043a\u043b\u044e\u0447", "\u0007 bell");
    attributes.put("empty", "");
    options.setAttributes(attributes);
    options.setCipher("AES/CTR/NoPadding");
    long before = System.currentTimeMillis();
    kms.createKey(name, options);
    long after = System.currentTimeMillis();

    Metadata metadata = kms.getMetadata(name);
    assertEquals(options.getDescription(), metadata.getDescription());
    assertEquals("AES/CTR/NoPadding", metadata.getCipher());
    assertEquals("AES", metadata.getAlgorithm());
    assertEquals(128, metadata.getBitLength());
    assertEquals(1, metadata.getVersions());
    attributes.forEach((key, value) -> assertEquals(value, metadata.getAttributes().get(key), key));
    assertTrue(metadata.getCreated().getTime() >= before - 1000 && metadata.getCreated().getTime() <= after + 1000);
    assertEquals(metadata.toString(), kms.getKeysMetadata(name)[0].toString());
  }

  @Test
  void keyWithoutDescriptionHasNone() throws Exception {
    String name = keys.name("plain");
    kms.createKey(name, options(128));
    assertNull(kms.getMetadata(name).getDescription());
    assertNotNull(kms.getMetadata(name).getAttributes());
  }

  @Test
  @Tag("material")
  void rollsNewVersions() throws Exception {
    String name = keys.name("rolled");
    byte[] first = randomBytes(32);
    byte[] third = randomBytes(32);
    kms.createKey(name, first, options(256));
    KeyVersion generated = kms.rollNewVersion(name);
    assertEquals(name + "@1", generated.getVersionName());
    assertEquals(32, generated.getMaterial().length);
    assertFalse(Arrays.equals(first, generated.getMaterial()));
    KeyVersion given = kms.rollNewVersion(name, third);
    assertEquals(name + "@2", given.getVersionName());
    assertArrayEquals(third, given.getMaterial());

    assertVersion(given, kms.getCurrentKey(name));
    List<KeyVersion> versions = kms.getKeyVersions(name);
    assertEquals(3, versions.size());
    assertArrayEquals(first, versions.get(0).getMaterial());
    assertVersion(generated, versions.get(1));
    assertVersion(given, versions.get(2));
    assertArrayEquals(first, kms.getKeyVersion(name + "@0").getMaterial());
    assertEquals(3, kms.getMetadata(name).getVersions());
  }

  @Test
  @Tag("material")
  void ordersMoreThanTenVersionsByNumber() throws Exception {
    String name = keys.name("many");
    kms.createKey(name, options(128));
    for (int version = 1; version <= 11; version++) {
      kms.rollNewVersion(name);
    }
    List<KeyVersion> versions = kms.getKeyVersions(name);
    for (int version = 0; version <= 11; version++) {
      assertEquals(name + "@" + version, versions.get(version).getVersionName());
    }
    assertEquals(name + "@11", kms.getCurrentKey(name).getVersionName());
  }

  @Test
  void answersNothingForMissingKeys() throws Exception {
    String name = keys.name("missing");
    assertNull(kms.getMetadata(name));
    assertNull(kms.getCurrentKey(name));
    assertNull(kms.getKeyVersion(name + "@0"));
    assertNull(kms.getKeyVersions(name));
    kms.invalidateCache(name);
  }

  @Test
  void answersBulkMetadataInOrderOfTheQuestion() throws Exception {
    String first = keys.name("bulk-1");
    String second = keys.name("bulk-2+\u00e9&");
    String missing = keys.name("bulk-missing");
    kms.createKey(first, options(128));
    kms.createKey(second, options(256));
    Metadata[] metadata = kms.getKeysMetadata(second, missing, first, second);
    assertEquals(4, metadata.length);
    assertEquals(256, metadata[0].getBitLength());
    assertNull(metadata[1]);
    assertEquals(128, metadata[2].getBitLength());
    assertEquals(256, metadata[3].getBitLength());
  }

  @Test
  void answersBulkMetadataOfMoreNamesThanOneRequestHolds() throws Exception {
    String name = keys.name("wide");
    kms.createKey(name, options(192));
    String[] names = new String[200];
    for (int i = 0; i < names.length; i++) {
      names[i] = i % 50 == 7 ? name : name + "-no-such-key-" + i;
    }
    Metadata[] metadata = kms.getKeysMetadata(names);
    assertEquals(names.length, metadata.length);
    for (int i = 0; i < names.length; i++) {
      if (i % 50 == 7) {
        assertEquals(192, metadata[i].getBitLength());
      } else {
        assertNull(metadata[i]);
      }
    }
  }

  @Test
  @Tag("material")
  void recreatedKeyIsANewKey() throws Exception {
    assumeFalse(TestServer.keepsDeletedKeys());
    String name = keys.name("again");
    KeyVersion old = kms.createKey(name, options(128));
    kms.rollNewVersion(name);
    kms.generateEncryptedKey(name);
    kms.deleteKey(name);
    kms.invalidateCache(name);
    assertNull(kms.getMetadata(name));
    assertNull(kms.getCurrentKey(name));
    assertNull(kms.getKeyVersion(name + "@0"));
    assertFalse(kms.getKeys().contains(name));

    byte[] material = randomBytes(32);
    KeyVersion created = kms.createKey(name, material, options(256));
    assertEquals(name + "@0", created.getVersionName());
    assertFalse(Arrays.equals(old.getMaterial(), kms.getCurrentKey(name).getMaterial()));
    assertEquals(1, kms.getMetadata(name).getVersions());
    assertNull(kms.getKeyVersion(name + "@1"));
    try (KMSClientProvider fresh = TestServer.client()) {
      KeyProvider.KeyVersion dek = fresh.decryptEncryptedKey(fresh.generateEncryptedKey(name));
      assertEquals(32, dek.getMaterial().length);
    }
  }

  /** As with a Key Trustee KMS: the name is free once the key has been purged. */
  @Test
  void nameOfKeptKeyStaysTaken() throws Exception {
    assumeTrue(TestServer.keepsDeletedKeys());
    String name = keys.name("kept");
    kms.createKey(name, options(128));
    KeyProviderCryptoExtension.EncryptedKeyVersion eek = kms.generateEncryptedKey(name);
    kms.deleteKey(name);
    assertNull(kms.getMetadata(name));
    assertFalse(kms.getKeys().contains(name));
    assertThrows(IllegalArgumentException.class, () -> kms.decryptEncryptedKey(eek));
    IOException e = assertThrows(IOException.class, () -> kms.createKey(name, options(128)));
    assertTrue(e.getMessage().contains(name + " already exists") && e.getMessage().contains("purged"), e.getMessage());
  }

  @Test
  @Tag("material")
  void generatedMaterialDiffers() throws Exception {
    KeyVersion one = kms.createKey(keys.name("one"), options(128));
    KeyVersion two = kms.createKey(keys.name("two"), options(128));
    assertNotEquals(Arrays.toString(one.getMaterial()), Arrays.toString(two.getMaterial()));
  }

  @Test
  @Tag("material")
  void refusesToCreateTwice() throws Exception {
    String name = keys.name("twice");
    byte[] material = randomBytes(16);
    kms.createKey(name, material, options(128));
    IOException e = assertThrows(IOException.class, () -> kms.createKey(name, options(128)));
    assertTrue(e.getMessage().contains(name + " already exists"), e.getMessage());
    assertArrayEquals(material, kms.getCurrentKey(name).getMaterial());
  }

  @Test
  @Tag("material")
  void refusesChangesToMissingKeys() {
    String name = keys.name("missing");
    IOException roll = assertThrows(IOException.class, () -> kms.rollNewVersion(name));
    assertTrue(roll.getMessage().contains(name), roll.getMessage());
    assertThrows(IOException.class, () -> kms.rollNewVersion(name, randomBytes(16)));
    IOException delete = assertThrows(IOException.class, () -> kms.deleteKey(name));
    assertTrue(delete.getMessage().contains(name + " does not exist"), delete.getMessage());
  }

  @Test
  @Tag("material")
  void refusesWrongLengths() throws Exception {
    String name = keys.name("length");
    assertThrows(InvalidParameterException.class, () -> kms.createKey(name, options(100)));
    assertNull(kms.getMetadata(name));
    kms.createKey(name, options(256));
    IOException e = assertThrows(IOException.class, () -> kms.rollNewVersion(name, randomBytes(16)));
    assertTrue(e.getMessage().contains("Wrong key length. Required 256, but got 128"), e.getMessage());
    assertEquals(1, kms.getMetadata(name).getVersions());
  }

  @Test
  void refusesUpperCaseNames() {
    String name = keys.name("Upper");
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> kms.createKey(name, options(128)));
    assertTrue(e.getMessage().contains(name), e.getMessage());
  }

  private static void assertVersion(KeyVersion expected, KeyVersion actual) {
    assertNotNull(actual);
    assertEquals(expected.getName(), actual.getName());
    assertEquals(expected.getVersionName(), actual.getVersionName());
    assertArrayEquals(expected.getMaterial(), actual.getMaterial());
  }
}
