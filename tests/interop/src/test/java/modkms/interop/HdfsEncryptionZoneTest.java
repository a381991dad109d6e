// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static modkms.interop.TestKeys.randomBytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.PrivilegedExceptionAction;
import java.util.Arrays;
import javax.crypto.Cipher;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension.EncryptedKeyVersion;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileEncryptionInfo;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.protocol.HdfsConstants.ReencryptAction;
import org.apache.hadoop.hdfs.protocol.ZoneReencryptionStatus;
import org.apache.hadoop.hdfs.tools.CryptoAdmin;
import org.apache.hadoop.io.IOUtils;
import org.apache.hadoop.security.Credentials;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.util.ToolRunner;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A real HDFS, one NameNode and one DataNode in this process, whose encryption zones live off the KMS. */
@Timeout(120)
class HdfsEncryptionZoneTest {
  private static final int FILE_SIZE = 300_001;

  @TempDir
  static File directory;

  private static Configuration conf;
  private static MiniDFSCluster cluster;
  private static DistributedFileSystem hdfs;
  private static TestKeys keys;
  private static KMSClientProvider kms;

  @BeforeAll
  static void startCluster() throws IOException {
    conf = TestServer.configuration();
    conf.set("hadoop.security.key.provider.path", TestServer.providerUri(TestServer.url()).toString());
    conf.set("dfs.namenode.reencrypt.sleep.interval", "200ms");
    conf.setBoolean("dfs.namenode.delegation.token.always-use", true);
    cluster = new MiniDFSCluster.Builder(conf, directory).numDataNodes(1).build();
    cluster.waitActive();
    hdfs = cluster.getFileSystem();
    conf.set("fs.defaultFS", hdfs.getUri().toString());
    kms = TestServer.client();
    keys = new TestKeys(kms);
  }

  @AfterAll
  static void stopCluster() throws IOException {
    if (cluster != null) {
      cluster.shutdown(true);
    }
    if (keys != null) {
      keys.close();
    }
  }

  @Test
  void filesOfAZoneAreEncryptedWithKeysOfTheKms() throws Exception {
    String key = keys.name("zone");
    Path zone = createZone("/encrypted", key, 256);
    byte[] content = randomBytes(FILE_SIZE);
    Path file = new Path(zone, "file");
    write("alice", file, content);

    assertArrayEquals(content, read("alice", file));
    assertArrayEquals(content, read("bob", file));
    assertArrayEquals(content, readAt("bob", file, 77_777, 1000, content));

    byte[] raw = readFully(hdfs, new Path("/.reserved/raw" + file));
    assertEquals(content.length, raw.length);
    assertFalse(Arrays.equals(content, raw));
    FileEncryptionInfo info = encryptionInfo(file);
    assertEquals(key, info.getKeyName());
    assertEquals(key + "@0", info.getEzKeyVersionName());
    assertArrayEquals(content, decryptWithoutHdfs(info, raw));
  }

  @Test
  void zoneFollowsItsKeyThroughRollAndReencryption() throws Exception {
    String key = keys.name("rolled-zone");
    Path zone = createZone("/rolled", key, 128);
    byte[] content = randomBytes(FILE_SIZE);
    Path first = new Path(zone, "first");
    write("alice", first, content);
    for (int i = 0; i < 30; i++) {
      write("alice", new Path(zone, "small/" + i), new byte[] {(byte) i});
    }
    FileEncryptionInfo before = encryptionInfo(first);
    assertEquals(key + "@0", before.getEzKeyVersionName());

    kms.rollNewVersion(key);
    cluster.getNamesystem().getProvider().drain(key);
    assertEquals(key + "@1", versionOfANewFile(zone, key));
    assertArrayEquals(content, read("alice", first));

    hdfs.reencryptEncryptionZone(zone, ReencryptAction.START);
    ZoneReencryptionStatus status = awaitReencryption(zone);
    assertFalse(status.isCanceled());
    assertEquals(0, status.getNumReencryptionFailures());
    assertTrue(status.getFilesReencrypted() >= 31, "re-encrypted " + status.getFilesReencrypted());

    FileEncryptionInfo after = encryptionInfo(first);
    assertEquals(key + "@1", after.getEzKeyVersionName());
    assertArrayEquals(before.getIV(), after.getIV());
    assertFalse(Arrays.equals(before.getEncryptedDataEncryptionKey(), after.getEncryptedDataEncryptionKey()));
    assertArrayEquals(content, read("alice", first));
    assertEquals(key + "@1", encryptionInfo(new Path(zone, "small/29")).getEzKeyVersionName());
    assertArrayEquals(new byte[] {29}, read("bob", new Path(zone, "small/29")));
    assertTrue(crypto("-listReencryptionStatus").contains(zone.toString()));
  }

  /** The way of a YARN job: its HDFS and KMS tokens are fetched by the submitter. */
  @Test
  @Tag("delegation-token")
  void jobReadsWithDelegationTokens() throws Exception {
    String key = keys.name("job-zone");
    Path zone = createZone("/job", key, 128);
    byte[] content = randomBytes(1000);
    Path file = new Path(zone, "file");
    write("alice", file, content);
    Credentials credentials = new Credentials();
    as("alice", fs -> fs.addDelegationTokens("yarn", credentials));
    assertTrue(credentials.getAllTokens().stream().anyMatch(token -> token.getKind().toString().equals("kms-dt")));

    UserGroupInformation job = UserGroupInformation.createRemoteUser("alice");
    job.addCredentials(credentials);
    byte[] got = job.doAs((PrivilegedExceptionAction<byte[]>) () -> {
      try (FileSystem fs = FileSystem.newInstance(conf)) {
        return readFully(fs, file);
      }
    });
    assertArrayEquals(content, got);
  }

  private static Path createZone(String path, String key, int bits) throws Exception {
    kms.createKey(key, options(bits));
    Path zone = new Path(path);
    hdfs.mkdirs(zone);
    hdfs.setPermission(zone, new FsPermission((short) 01777));
    assertTrue(crypto("-createZone", "-keyName", key, "-path", path).contains("Added encryption zone " + path));
    assertTrue(crypto("-listZones").contains(key));
    return zone;
  }

  /** Runs {@code hdfs crypto} and answers what it printed. */
  private static String crypto(String... arguments) throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    PrintStream out = System.out;
    System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
    int exitCode;
    try {
      exitCode = ToolRunner.run(new CryptoAdmin(conf), arguments);
    } finally {
      System.setOut(out);
    }
    String output = bytes.toString(StandardCharsets.UTF_8);
    assertEquals(0, exitCode, output);
    return output;
  }

  /** A filler that ran during the roll may have left a few keys of the old version in a queue. */
  private static String versionOfANewFile(Path zone, String key) throws Exception {
    String version = null;
    for (int i = 0; i < 60; i++) {
      Path file = new Path(zone, "after-roll-" + i);
      write("alice", file, new byte[] {1});
      version = encryptionInfo(file).getEzKeyVersionName();
      if (version.equals(key + "@1")) {
        break;
      }
    }
    return version;
  }

  private static ZoneReencryptionStatus awaitReencryption(Path zone) throws Exception {
    while (true) {
      RemoteIterator<ZoneReencryptionStatus> all = hdfs.listReencryptionStatus();
      while (all.hasNext()) {
        ZoneReencryptionStatus status = all.next();
        if (status.getZoneName().equals(zone.toString())
            && status.getState() == ZoneReencryptionStatus.State.Completed) {
          return status;
        }
      }
      Thread.sleep(100);
    }
  }

  private static FileEncryptionInfo encryptionInfo(Path file) throws IOException {
    FileEncryptionInfo info = hdfs.getClient().getFileInfo(file.toString()).getFileEncryptionInfo();
    assertNotNull(info);
    return info;
  }

  /** The stored bytes opened with the KMS and the JDK alone. */
  private static byte[] decryptWithoutHdfs(FileEncryptionInfo info, byte[] raw) throws Exception {
    EncryptedKeyVersion eek = EncryptedKeyVersion.createForDecryption(info.getKeyName(), info.getEzKeyVersionName(),
        info.getIV(), info.getEncryptedDataEncryptionKey());
    byte[] dek = kms.decryptEncryptedKey(eek).getMaterial();
    Cipher cipher = Cipher.getInstance("AES/CTR/NoPadding");
    cipher.init(Cipher.DECRYPT_MODE, new SecretKeySpec(dek, "AES"), new IvParameterSpec(info.getIV()));
    return cipher.doFinal(raw);
  }

  private interface Use<T> {
    T of(FileSystem fs) throws Exception;
  }

  private static <T> T as(String user, Use<T> use) throws Exception {
    return TestServer.as(user, () -> {
      try (FileSystem fs = FileSystem.newInstance(conf)) {
        return use.of(fs);
      }
    });
  }

  private static void write(String user, Path file, byte[] content) throws Exception {
    as(user, fs -> {
      try (FSDataOutputStream out = fs.create(file)) {
        out.write(content);
      }
      return null;
    });
  }

  private static byte[] read(String user, Path file) throws Exception {
    return as(user, fs -> readFully(fs, file));
  }

  /** A read in the middle, put into a copy of the expected content at the same place. */
  private static byte[] readAt(String user, Path file, int position, int length, byte[] expected) throws Exception {
    return as(user, fs -> {
      byte[] copy = expected.clone();
      Arrays.fill(copy, position, position + length, (byte) 0);
      try (FSDataInputStream in = fs.open(file)) {
        in.readFully(position, copy, position, length);
      }
      return copy;
    });
  }

  private static byte[] readFully(FileSystem fs, Path file) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (FSDataInputStream in = fs.open(file)) {
      IOUtils.copyBytes(in, bytes, 8192);
    }
    return bytes.toByteArray();
  }
}
