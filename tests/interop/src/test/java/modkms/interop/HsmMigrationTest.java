// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.randomBytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.protocol.ZoneReencryptionStatus;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * The key of a zone comes from a keystore into an HSM while the zone is in use. What the administrator of the KMS does
 * meanwhile, run-hsm does: it is asked by files in the folder that -Dkms.hsm.steps names.
 */
@Timeout(120)
class HsmMigrationTest {
  @TempDir
  private File directory;

  @Test
  void zoneMovesIntoTheHsm() throws Exception {
    assumeFalse(System.getProperty("kms.hsm.steps", "").isEmpty(), "kms.hsm.steps is not set");
    try (EncryptedHdfs hdfs = new EncryptedHdfs(directory)) {
      String key = hdfs.keys.name("moving");
      Path zone = hdfs.createZone("/moving", key, 256);
      byte[] content = randomBytes(300_001);
      Path file = new Path(zone, "file");
      hdfs.write("alice", file, content);
      for (int i = 0; i < 20; i++) {
        hdfs.write("alice", new Path(zone, "small/" + i), new byte[] {(byte) i});
      }
      assertEquals(key + "@0", hdfs.versionOf(file));
      Path deleted = new Path(zone, "deleted");
      hdfs.write("alice", deleted, content);
      hdfs.fs.allowSnapshot(zone);
      Path snapshot = hdfs.fs.createSnapshot(zone, "s");
      hdfs.fs.delete(deleted, false);
      deleted = new Path(snapshot, "deleted");

      ask("move");
      assertEquals(key + "@1", hdfs.kms.generateEncryptedKey(key).getEncryptionKeyVersionName());
      assertArrayEquals(content, hdfs.read("bob", file));
      assertThrows(UnsupportedOperationException.class, () -> hdfs.kms.getKeyVersion(key + "@0"));
      String before = ask("status");
      assertTrue(before.contains(key + "@0") && before.contains("1 versions of 1 keys are outside"), before);
      while (before.contains("never")) {
        before = ask("status");
      }

      ZoneReencryptionStatus status = hdfs.reencrypt(zone);
      assertEquals(0, status.getNumReencryptionFailures());
      assertTrue(status.getFilesReencrypted() >= 21, "re-encrypted " + status.getFilesReencrypted());
      assertEquals(key + "@1", hdfs.versionOf(file));
      assertEquals(key + "@1", hdfs.versionOf(new Path(zone, "small/19")));
      assertArrayEquals(content, hdfs.read("alice", file));
      // What only the snapshot has is passed over.
      assertEquals(key + "@1", hdfs.versionOf(new Path(snapshot, "file")));
      assertEquals(key + "@0", hdfs.versionOf(deleted));
      assertArrayEquals(content, hdfs.read("alice", deleted));

      String after = ask("forget");
      assertTrue(after.contains("No version is outside"), after);
      assertArrayEquals(content, hdfs.read("alice", file));
      assertArrayEquals(new byte[] {19}, hdfs.read("bob", new Path(zone, "small/19")));
      Path fresh = new Path(zone, "fresh");
      hdfs.write("alice", fresh, content);
      assertEquals(key + "@1", hdfs.versionOf(fresh));
      assertArrayEquals(content, hdfs.read("bob", fresh));
      Path lost = deleted;
      Exception e = assertThrows(Exception.class, () -> hdfs.read("alice", lost));
      assertTrue(String.valueOf(e.getMessage()).contains("'" + key + "@0' not found"), e.toString());
    }
  }

  /** Waits until the step is done, and answers what was said of it. */
  private static String ask(String step) throws IOException, InterruptedException {
    java.nio.file.Path steps = java.nio.file.Path.of(System.getProperty("kms.hsm.steps"));
    java.nio.file.Path done = steps.resolve(step + ".done");
    Files.deleteIfExists(done);
    Files.createFile(steps.resolve(step + ".wanted"));
    while (!Files.exists(done)) {
      Thread.sleep(50);
    }
    return Files.readString(done);
  }
}
