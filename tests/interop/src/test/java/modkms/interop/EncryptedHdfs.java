// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
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
import org.apache.hadoop.util.ToolRunner;

/** A real HDFS, one NameNode and one DataNode in this process, whose encryption zones live off the KMS. */
final class EncryptedHdfs implements AutoCloseable {
  final Configuration conf;
  final MiniDFSCluster cluster;
  final DistributedFileSystem fs;
  final KMSClientProvider kms;
  final TestKeys keys;

  EncryptedHdfs(File directory) throws IOException {
    conf = TestServer.configuration();
    conf.set("hadoop.security.key.provider.path", TestServer.providerUri(TestServer.url()).toString());
    conf.set("dfs.namenode.reencrypt.sleep.interval", "200ms");
    conf.setBoolean("dfs.namenode.delegation.token.always-use", true);
    cluster = new MiniDFSCluster.Builder(conf, directory).numDataNodes(1).build();
    cluster.waitActive();
    fs = cluster.getFileSystem();
    conf.set("fs.defaultFS", fs.getUri().toString());
    kms = TestServer.client();
    keys = new TestKeys(kms);
  }

  @Override
  public void close() throws IOException {
    cluster.shutdown(true);
    keys.close();
  }

  Path createZone(String path, String key, int bits) throws Exception {
    kms.createKey(key, options(bits));
    Path zone = new Path(path);
    fs.mkdirs(zone);
    fs.setPermission(zone, new FsPermission((short) 01777));
    assertTrue(crypto("-createZone", "-keyName", key, "-path", path).contains("Added encryption zone " + path));
    assertTrue(crypto("-listZones").contains(key));
    return zone;
  }

  /** Runs {@code hdfs crypto} and answers what it printed. */
  String crypto(String... arguments) throws Exception {
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

  /** Starts it, and answers what there is to say of it once it is complete. */
  ZoneReencryptionStatus reencrypt(Path zone) throws Exception {
    fs.reencryptEncryptionZone(zone, ReencryptAction.START);
    while (true) {
      RemoteIterator<ZoneReencryptionStatus> all = fs.listReencryptionStatus();
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

  FileEncryptionInfo encryptionInfo(Path file) throws IOException {
    FileEncryptionInfo info = fs.getClient().getFileInfo(file.toString()).getFileEncryptionInfo();
    assertNotNull(info);
    return info;
  }

  String versionOf(Path file) throws IOException {
    return encryptionInfo(file).getEzKeyVersionName();
  }

  interface Use<T> {
    T of(FileSystem fs) throws Exception;
  }

  <T> T as(String user, Use<T> use) throws Exception {
    return TestServer.as(user, () -> {
      try (FileSystem own = FileSystem.newInstance(conf)) {
        return use.of(own);
      }
    });
  }

  void write(String user, Path file, byte[] content) throws Exception {
    as(user, own -> {
      try (FSDataOutputStream out = own.create(file)) {
        out.write(content);
      }
      return null;
    });
  }

  byte[] read(String user, Path file) throws Exception {
    return as(user, own -> readFully(own, file));
  }

  static byte[] readFully(FileSystem fs, Path file) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (FSDataInputStream in = fs.open(file)) {
      IOUtils.copyBytes(in, bytes, 8192);
    }
    return bytes.toByteArray();
  }
}
