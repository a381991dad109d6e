// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.randomBytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.security.PrivilegedExceptionAction;
import java.util.Arrays;
import javax.crypto.Cipher;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension.EncryptedKeyVersion;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileEncryptionInfo;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.protocol.ZoneReencryptionStatus;
import org.apache.hadoop.security.Credentials;
import org.apache.hadoop.security.UserGroupInformation;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Encryption zones of a real HDFS. */
@Timeout(120)
class HdfsEncryptionZoneTest {
  private static final int FILE_SIZE = 300_001;

  @TempDir
  static File directory;

  private static EncryptedHdfs hdfs;

  @BeforeAll
  static void startCluster() throws IOException {
    hdfs = new EncryptedHdfs(directory);
  }

  @AfterAll
  static void stopCluster() throws IOException {
    if (hdfs != null) {
      hdfs.close();
    }
  }

  @Test
  void filesOfAZoneAreEncryptedWithKeysOfTheKms() throws Exception {
    String key = hdfs.keys.name("zone");
    Path zone = hdfs.createZone("/encrypted", key, 256);
    byte[] content = randomBytes(FILE_SIZE);
    Path file = new Path(zone, "file");
    hdfs.write("alice", file, content);

    assertArrayEquals(content, hdfs.read("alice", file));
    assertArrayEquals(content, hdfs.read("bob", file));
    assertArrayEquals(content, readAt("bob", file, 77_777, 1000, content));

    byte[] raw = EncryptedHdfs.readFully(hdfs.fs, new Path("/.reserved/raw" + file));
    assertEquals(content.length, raw.length);
    assertFalse(Arrays.equals(content, raw));
    FileEncryptionInfo info = hdfs.encryptionInfo(file);
    assertEquals(key, info.getKeyName());
    assertEquals(key + "@0", info.getEzKeyVersionName());
    assertArrayEquals(content, decryptWithoutHdfs(info, raw));
  }

  @Test
  void zoneFollowsItsKeyThroughRollAndReencryption() throws Exception {
    String key = hdfs.keys.name("rolled-zone");
    Path zone = hdfs.createZone("/rolled", key, 128);
    byte[] content = randomBytes(FILE_SIZE);
    Path first = new Path(zone, "first");
    hdfs.write("alice", first, content);
    for (int i = 0; i < 30; i++) {
      hdfs.write("alice", new Path(zone, "small/" + i), new byte[] {(byte) i});
    }
    FileEncryptionInfo before = hdfs.encryptionInfo(first);
    assertEquals(key + "@0", before.getEzKeyVersionName());

    hdfs.kms.rollNewVersion(key);
    hdfs.cluster.getNamesystem().getProvider().drain(key);
    assertEquals(key + "@1", versionOfANewFile(zone, key));
    assertArrayEquals(content, hdfs.read("alice", first));

    ZoneReencryptionStatus status = hdfs.reencrypt(zone);
    assertFalse(status.isCanceled());
    assertEquals(0, status.getNumReencryptionFailures());
    assertTrue(status.getFilesReencrypted() >= 31, "re-encrypted " + status.getFilesReencrypted());

    FileEncryptionInfo after = hdfs.encryptionInfo(first);
    assertEquals(key + "@1", after.getEzKeyVersionName());
    assertArrayEquals(before.getIV(), after.getIV());
    assertFalse(Arrays.equals(before.getEncryptedDataEncryptionKey(), after.getEncryptedDataEncryptionKey()));
    assertArrayEquals(content, hdfs.read("alice", first));
    assertEquals(key + "@1", hdfs.encryptionInfo(new Path(zone, "small/29")).getEzKeyVersionName());
    assertArrayEquals(new byte[] {29}, hdfs.read("bob", new Path(zone, "small/29")));
    assertTrue(hdfs.crypto("-listReencryptionStatus").contains(zone.toString()));
  }

  /** The way of a YARN job: its HDFS and KMS tokens are fetched by the submitter. */
  @Test
  @Tag("delegation-token")
  void jobReadsWithDelegationTokens() throws Exception {
    String key = hdfs.keys.name("job-zone");
    Path zone = hdfs.createZone("/job", key, 128);
    byte[] content = randomBytes(1000);
    Path file = new Path(zone, "file");
    hdfs.write("alice", file, content);
    Credentials credentials = new Credentials();
    hdfs.as("alice", fs -> fs.addDelegationTokens("yarn", credentials));
    assertTrue(credentials.getAllTokens().stream().anyMatch(token -> token.getKind().toString().equals("kms-dt")));

    UserGroupInformation job = UserGroupInformation.createRemoteUser("alice");
    job.addCredentials(credentials);
    byte[] got = job.doAs((PrivilegedExceptionAction<byte[]>) () -> {
      try (FileSystem fs = FileSystem.newInstance(hdfs.conf)) {
        return EncryptedHdfs.readFully(fs, file);
      }
    });
    assertArrayEquals(content, got);
  }

  /** A filler that ran during the roll may have left a few keys of the old version in a queue. */
  private static String versionOfANewFile(Path zone, String key) throws Exception {
    String version = null;
    for (int i = 0; i < 60; i++) {
      Path file = new Path(zone, "after-roll-" + i);
      hdfs.write("alice", file, new byte[] {1});
      version = hdfs.versionOf(file);
      if (version.equals(key + "@1")) {
        break;
      }
    }
    return version;
  }

  /** The stored bytes opened with the KMS and the JDK alone. */
  private static byte[] decryptWithoutHdfs(FileEncryptionInfo info, byte[] raw) throws Exception {
    EncryptedKeyVersion eek = EncryptedKeyVersion.createForDecryption(info.getKeyName(), info.getEzKeyVersionName(),
        info.getIV(), info.getEncryptedDataEncryptionKey());
    byte[] dek = hdfs.kms.decryptEncryptedKey(eek).getMaterial();
    Cipher cipher = Cipher.getInstance("AES/CTR/NoPadding");
    cipher.init(Cipher.DECRYPT_MODE, new SecretKeySpec(dek, "AES"), new IvParameterSpec(info.getIV()));
    return cipher.doFinal(raw);
  }

  /** A read in the middle, put into a copy of the expected content at the same place. */
  private static byte[] readAt(String user, Path file, int position, int length, byte[] expected) throws Exception {
    return hdfs.as(user, fs -> {
      byte[] copy = expected.clone();
      Arrays.fill(copy, position, position + length, (byte) 0);
      try (FSDataInputStream in = fs.open(file)) {
        in.readFully(position, copy, position, length);
      }
      return copy;
    });
  }
}
