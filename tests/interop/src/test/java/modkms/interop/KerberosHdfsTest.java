// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.KerberosServer.login;
import static modkms.interop.TestKeys.options;
import static modkms.interop.TestKeys.randomBytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.security.PrivilegedExceptionAction;
import java.util.Arrays;
import java.util.EnumSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.client.CreateEncryptionZoneFlag;
import org.apache.hadoop.hdfs.client.HdfsAdmin;
import org.apache.hadoop.security.Credentials;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.security.token.Token;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** HDFS of a secure cluster, whose NameNode and clients come to the KMS with tickets and with tokens. */
class KerberosHdfsTest {
  private static final String HDFS = "hdfs/localhost@" + KerberosServer.REALM;

  @TempDir
  static File directory;
  private static MiniDFSCluster cluster;
  private static Configuration conf;
  private static UserGroupInformation alice;
  private static Path zone;

  @BeforeAll
  static void startCluster() throws Exception {
    KerberosServer.assumeThere();
    conf = KerberosServer.secure();
    conf.set("hadoop.security.key.provider.path",
        KerberosServer.uri("localhost", KerberosServer.port()).toString());
    for (String daemon : new String[] {"namenode", "datanode"}) {
      conf.set("dfs." + daemon + ".kerberos.principal", HDFS);
      conf.set("dfs." + daemon + ".keytab.file", KerberosServer.keytab("hdfs"));
    }
    conf.set("dfs.web.authentication.kerberos.principal", "HTTP/localhost@" + KerberosServer.REALM);
    conf.set("dfs.web.authentication.kerberos.keytab", KerberosServer.keytab("http"));
    conf.setBoolean("dfs.block.access.token.enable", true);
    conf.setBoolean("ignore.secure.ports.for.testing", true);
    UserGroupInformation.setConfiguration(conf);
    cluster = new MiniDFSCluster.Builder(conf, directory).numDataNodes(1).build();
    cluster.waitActive();
    conf.set("fs.defaultFS", cluster.getURI().toString());
    alice = login("alice");
    zone = new Path("/encrypted");
    String key = "secure-zone-" + System.nanoTime();
    KerberosServer.call(alice, KerberosServer.uri("localhost", KerberosServer.port()), conf,
        kms -> kms.createKey(key, options(256)));
    as(login("hdfs/localhost"), fs -> {
      fs.mkdirs(zone);
      fs.setPermission(zone, new FsPermission((short) 01777));
      new HdfsAdmin(fs.getUri(), conf).createEncryptionZone(zone, key, EnumSet.noneOf(CreateEncryptionZoneFlag.class));
      return null;
    });
  }

  @AfterAll
  static void stopCluster() {
    if (cluster != null) {
      cluster.shutdown(true);
    }
  }

  private interface Use<T> {
    T of(FileSystem fs) throws Exception;
  }

  private static <T> T as(UserGroupInformation user, Use<T> use) throws Exception {
    return user.doAs((PrivilegedExceptionAction<T>) () -> {
      try (FileSystem fs = FileSystem.newInstance(conf)) {
        return use.of(fs);
      }
    });
  }

  private static Void write(FileSystem fs, Path file, byte[] content) throws Exception {
    try (FSDataOutputStream out = fs.create(file)) {
      out.write(content);
    }
    return null;
  }

  private static byte[] read(FileSystem fs, Path file) throws Exception {
    try (FSDataInputStream in = fs.open(file)) {
      return in.readAllBytes();
    }
  }

  @Test
  void usersWithTicketsWriteAndRead() throws Exception {
    byte[] content = randomBytes(300_000);
    Path file = new Path(zone, "by-ticket");
    as(alice, fs -> write(fs, file, content));
    assertArrayEquals(content, as(login("bob"), fs -> read(fs, file)));
    byte[] raw = as(login("hdfs/localhost"), fs -> read(fs, new Path("/.reserved/raw" + file)));
    assertEquals(content.length, raw.length);
    assertFalse(Arrays.equals(content, raw));
  }

  /** The way of a YARN job: the submitter fetches tokens, YARN renews them, containers have nothing else. */
  @Test
  void aJobWritesAndReadsWithTokensAlone() throws Exception {
    Credentials credentials = new Credentials();
    Token<?>[] fetched = as(alice, fs -> fs.addDelegationTokens("yarn", credentials));
    assertTrue(Arrays.stream(fetched).anyMatch(token -> token.getKind().toString().equals("kms-dt")));
    UserGroupInformation yarn = login("yarn/rm.example.test");
    for (Token<?> token : fetched) {
      long until = yarn.doAs((PrivilegedExceptionAction<Long>) () -> token.renew(conf));
      assertTrue(until > System.currentTimeMillis());
    }
    UserGroupInformation job = UserGroupInformation.createRemoteUser("alice");
    job.addCredentials(credentials);
    byte[] content = randomBytes(10_000);
    Path file = new Path(zone, "by-token");
    as(job, fs -> write(fs, file, content));
    assertArrayEquals(content, as(job, fs -> read(fs, file)));
    for (Token<?> token : fetched) {
      if (token.getKind().toString().equals("kms-dt")) {
        yarn.doAs((PrivilegedExceptionAction<Void>) () -> {
          token.cancel(conf);
          return null;
        });
      }
    }
    // HDFS keeps its client of the KMS, with a cookie of who came first; this one has the token only.
    String told = KerberosServer.chain(assertThrows(Exception.class, () -> KerberosServer.call(
        job, KerberosServer.uri("localhost", KerberosServer.port()), conf, kms -> kms.getKeys())));
    assertTrue(told.contains("InvalidToken"), told);
  }
}
