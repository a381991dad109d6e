// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.JavaKeyStoreProvider;
import org.apache.hadoop.crypto.key.KeyProvider;
import org.apache.hadoop.crypto.key.KeyProviderFactory;

/**
 * Reads and writes Hadoop keystores with Hadoop's own JavaKeyStoreProvider and prints every key as one
 * line of JSON, so that a test in any language can compare it with what another program made of the file.
 * The password comes from the environment variable HADOOP_KEYSTORE_PASSWORD.
 */
public final class KeystoreExchange {
  private static final String USAGE = String.join(System.lineSeparator(),
      "usage: keystore-exchange write URI            create sample keys and print them",
      "       keystore-exchange read URI [NAME...]   print all keys (names with '@' only if given)",
      "       keystore-exchange create URI NAME BITS create one key with random material",
      "       keystore-exchange roll URI NAME        add a version with random material",
      "       keystore-exchange delete URI NAME      delete a key with all its versions",
      "URI is jceks://file/ABSOLUTE/PATH");

  private static final ObjectMapper JSON = new ObjectMapper();

  private KeystoreExchange() {}

  public static void main(String[] args) throws Exception {
    if (args.length < 2) {
      System.err.println(USAGE);
      System.exit(2);
    }
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    List<String> rest = Arrays.asList(args).subList(2, args.length);
    try (KeyProvider store = open(new URI(args[1]), new Configuration())) {
      switch (args[0]) {
        case "write" -> printAll(store, writeSamples(store), out);
        case "read" -> printAll(store, rest, out);
        case "create" -> {
          KeyProvider.Options options = KeyProvider.options(store.getConf());
          options.setBitLength(Integer.parseInt(rest.get(1)));
          store.createKey(rest.get(0), options);
          store.flush();
          print(store, rest.get(0), out);
        }
        case "roll" -> {
          store.rollNewVersion(rest.get(0));
          store.flush();
          print(store, rest.get(0), out);
        }
        case "delete" -> {
          store.deleteKey(rest.get(0));
          store.flush();
        }
        default -> {
          System.err.println(USAGE);
          System.exit(2);
        }
      }
    }
  }

  /** Opens a keystore with the provider that the Java KMS uses, and refuses any other. */
  public static KeyProvider open(URI uri, Configuration conf) throws IOException {
    KeyProvider provider = KeyProviderFactory.get(uri, conf);
    if (!(provider instanceof JavaKeyStoreProvider)) {
      throw new IOException(uri + " is not a jceks keystore");
    }
    return provider;
  }

  /** The plain content of one key: its metadata and each version's material in hex. */
  public static Map<String, Object> describe(KeyProvider store, String name) throws IOException {
    KeyProvider.Metadata metadata = store.getMetadata(name);
    if (metadata == null) {
      return null;
    }
    List<Map<String, Object>> versions = new ArrayList<>();
    for (KeyProvider.KeyVersion version : store.getKeyVersions(name)) {
      Map<String, Object> entry = new LinkedHashMap<>();
      entry.put("versionName", version.getVersionName());
      entry.put("material", HexFormat.of().formatHex(version.getMaterial()));
      versions.add(entry);
    }
    Map<String, Object> key = new LinkedHashMap<>();
    key.put("name", name);
    key.put("cipher", metadata.getCipher());
    key.put("length", metadata.getBitLength());
    key.put("description", metadata.getDescription());
    key.put("attributes", new TreeMap<>(metadata.getAttributes()));
    key.put("created", metadata.getCreated().getTime());
    key.put("versionCount", metadata.getVersions());
    key.put("versions", versions);
    return key;
  }

  private static void printAll(KeyProvider store, List<String> extra, PrintStream out) throws IOException {
    TreeSet<String> names = new TreeSet<>(store.getKeys());
    names.addAll(extra);
    for (String name : names) {
      print(store, name, out);
    }
  }

  private static void print(KeyProvider store, String name, PrintStream out) throws IOException {
    Map<String, Object> key = describe(store, name);
    if (key == null) {
      throw new IOException("no key " + name);
    }
    out.println(JSON.writeValueAsString(key));
  }

  /** Creates keys that between them use every feature of the format; answers the names that getKeys omits. */
  private static List<String> writeSamples(KeyProvider store) throws Exception {
    store.createKey("plain", material(0x10, 16), options(store, 128));
    store.createKey("long", material(0x20, 32), options(store, 256));

    KeyProvider.Options middle = options(store, 192);
    middle.setDescription("a key of 192 bits");
    store.createKey("middle", material(0x30, 24), middle);

    KeyProvider.Options full = options(store, 128);
    full.setDescription("Beschreibung f\u00fcr \u30ad\u30fc \ud83d\udd11, \"quoted\"\ttab\nline");
    Map<String, String> attributes = new LinkedHashMap<>();
    attributes.put("key.acl.name", "other");
    attributes.put("owner", "J\u00f6rg");
    attributes.put("\u043a\u043b\u044e\u0447", "");
    full.setAttributes(attributes);
    store.createKey("\u043a\u043b\u044e\u0447-\u00e9-\ud83d\udd11", material(0x40, 16), full);

    store.createKey("rolled", material(0x50, 16), options(store, 128));
    for (int version = 1; version <= 11; version++) {
      store.rollNewVersion("rolled", material(0x50 + version, 16));
    }
    KeyProvider.Options cipher = options(store, 128);
    cipher.setCipher("AES/CBC/PKCS5Padding");
    store.createKey("path/with/slashes", material(0x70, 16), cipher);
    store.createKey("at@sign", material(0x71, 16), options(store, 128));
    store.createKey("generated", options(store, 256));
    store.flush();
    return List.of("at@sign");
  }

  private static KeyProvider.Options options(KeyProvider store, int bits) {
    KeyProvider.Options options = KeyProvider.options(store.getConf());
    options.setCipher("AES/CTR/NoPadding");
    options.setBitLength(bits);
    return options;
  }

  private static byte[] material(int first, int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (first + 7 * i);
    }
    return bytes;
  }
}
