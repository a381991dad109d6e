// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.KeyProvider;
import org.apache.hadoop.crypto.key.KeyProvider.KeyVersion;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The file that the running server writes, read and changed by Java. Needs -Dkms.keystore and its password. */
class KeystoreFileTest {
  @TempDir
  Path directory;

  private KMSClientProvider kms;
  private TestKeys keys;
  private Path file;

  @BeforeEach
  void connect() throws IOException {
    assumeTrue(TestServer.keystore() != null, "kms.keystore is not set");
    kms = TestServer.client();
    keys = new TestKeys(kms);
    file = directory.resolve("copy.keystore");
  }

  @AfterEach
  void deleteKeys() throws IOException {
    if (keys != null) {
      keys.close();
    }
  }

  @Test
  void javaReadsWhatTheServerReports() throws Exception {
    createSamples();
    try (KeyProvider copy = openCopy()) {
      assertEquals(new HashSet<>(kms.getKeys()), new HashSet<>(copy.getKeys()));
      Set<String> readable = readableKeys();
      assertTrue(readable.size() >= 3);
      for (String name : readable) {
        assertEquals(KeystoreExchange.describe(kms, name), KeystoreExchange.describe(copy, name));
      }
    }
  }

  @Test
  void javaRollsAKeyInTheServersFile() throws Exception {
    List<String> names = createSamples();
    KeyVersion rolled;
    try (KeyProvider copy = openCopy()) {
      rolled = copy.rollNewVersion(names.get(1));
      copy.flush();
    }
    try (KeyProvider again = open()) {
      assertArrayEquals(rolled.getMaterial(), again.getCurrentKey(names.get(1)).getMaterial());
      List<KeyVersion> before = kms.getKeyVersions(names.get(1));
      List<KeyVersion> after = again.getKeyVersions(names.get(1));
      assertEquals(before.size() + 1, after.size());
      for (int i = 0; i < before.size(); i++) {
        assertEquals(before.get(i).getVersionName(), after.get(i).getVersionName());
        assertArrayEquals(before.get(i).getMaterial(), after.get(i).getMaterial());
      }
      for (String name : List.of(names.get(0), names.get(2))) {
        assertEquals(KeystoreExchange.describe(kms, name), KeystoreExchange.describe(again, name));
      }
    }
    listWithKeytool(names);
  }

  @Test
  void keytoolListsTheServersFile() throws Exception {
    List<String> names = createSamples();
    Files.copy(TestServer.keystore(), file);
    listWithKeytool(names);
  }

  /** Three keys: plain; with several versions; with all metadata and a name beyond ASCII. */
  private List<String> createSamples() throws Exception {
    String plain = keys.name("plain");
    kms.createKey(plain, options(128));

    String rolled = keys.name("rolled");
    kms.createKey(rolled, options(256));
    kms.rollNewVersion(rolled);
    kms.rollNewVersion(rolled);

    String full = keys.name("\u043a\u043b\u044e\u0447-\ud83d\udd11");
    KeyProvider.Options options = options(192);
    options.setDescription("Schl\u00fcssel \ud83d\udd11\nsecond line");
    options.setAttributes(new HashMap<>(Map.of("owner", "J\u00f6rg", "empty", "", "\u30ad\u30fc", "\u5024")));
    kms.createKey(full, options);
    return List.of(plain, rolled, full);
  }

  /** The Java client cannot ask for names with a space: it sends '+', which a path does not decode. */
  private Set<String> readableKeys() throws IOException {
    return kms.getKeys().stream().filter(name -> !name.contains(" ")).collect(Collectors.toSet());
  }

  private KeyProvider openCopy() throws IOException {
    Files.copy(TestServer.keystore(), file);
    return open();
  }

  /** The provider takes the password from the environment that the build sets up. */
  private KeyProvider open() throws IOException {
    assertEquals(TestServer.keystorePassword(), System.getenv("HADOOP_KEYSTORE_PASSWORD"));
    return KeystoreExchange.open(URI.create("jceks://file" + file.toAbsolutePath()), new Configuration());
  }

  private void listWithKeytool(List<String> names) throws Exception {
    ProcessBuilder builder = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
        "-J-Dfile.encoding=UTF-8", "-J-Dstdout.encoding=UTF-8", "-J-Duser.language=en", "-list", "-storetype", "jceks",
        "-keystore", file.toString(), "-storepass:env", "HADOOP_KEYSTORE_PASSWORD");
    builder.redirectErrorStream(true);
    Process process = builder.start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), output);
    List<String> aliases = output.lines().filter(line -> line.contains("SecretKeyEntry")).collect(Collectors.toList());
    int expected = 0;
    for (String name : readableKeys()) {
      expected += 1 + kms.getKeyVersions(name).size();
    }
    assertTrue(aliases.size() >= expected, output);
    assertTrue(aliases.stream().anyMatch(line -> line.startsWith(names.get(1) + "@2,")), output);
  }
}
