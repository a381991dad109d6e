// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.KerberosServer.REALM;
import static modkms.interop.KerberosServer.call;
import static modkms.interop.KerberosServer.chain;
import static modkms.interop.KerberosServer.login;
import static modkms.interop.KerberosServer.port;
import static modkms.interop.KerberosServer.shortPort;
import static modkms.interop.KerberosServer.uri;
import static modkms.interop.TestKeys.options;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.AccessController;
import java.security.PrivilegedExceptionAction;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.security.auth.Subject;
import javax.security.auth.kerberos.KerberosTicket;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.KeyProvider.KeyVersion;
import org.apache.hadoop.crypto.key.KeyShell;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.security.token.Token;
import org.apache.hadoop.security.token.delegation.web.DelegationTokenIdentifier;
import org.apache.hadoop.util.ToolRunner;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** The Java client of a secure cluster: tickets, delegation tokens, proxy users, and who is kept out. */
class KerberosClientTest {
  private static Configuration conf;
  private static UserGroupInformation alice;
  private static URI server;

  @BeforeAll
  static void logIn() throws Exception {
    KerberosServer.assumeThere();
    conf = KerberosServer.secure();
    alice = login("alice");
    server = uri("localhost", port());
  }

  private static List<String> names(UserGroupInformation user, URI uri) throws Exception {
    return call(user, uri, conf, KMSClientProvider::getKeys);
  }

  private static String refusal(UserGroupInformation user, URI uri) {
    return chain(assertThrows(Exception.class, () -> names(user, uri)));
  }

  private static void assertMentions(String told, String words) {
    assertTrue(told.contains(words), told);
  }

  private static Token<?> tokenOf(UserGroupInformation user, URI uri) throws Exception {
    return call(user, uri, conf, kms -> kms.getDelegationToken("yarn"));
  }

  /** Who has a token and nothing else, like the container of a job. */
  private static UserGroupInformation holder(Token<?> token) {
    UserGroupInformation job = UserGroupInformation.createRemoteUser("container");
    job.addToken(token);
    return job;
  }

  @Test
  void everyOperationByTicket() throws Exception {
    String key = call(alice, server, conf, kms -> {
      String name = "ticket-" + System.nanoTime();
      kms.createKey(name, options(128));
      KeyVersion dek = kms.decryptEncryptedKey(kms.generateEncryptedKey(name));
      assertEquals(16, dek.getMaterial().length);
      assertEquals(name + "@1", kms.rollNewVersion(name).getVersionName());
      assertTrue(kms.getKeys().contains(name));
      return name;
    });
    call(login("bob"), server, conf, kms -> {
      assertEquals(2, kms.getKeyVersions(key).size());
      kms.deleteKey(key);
      return null;
    });
  }

  /** {@code hadoop key list}. */
  @Test
  void theShell() throws Exception {
    String key = call(alice, server, conf, kms -> kms.createKey("shell-" + System.nanoTime(), options(128)).getName());
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    PrintStream out = System.out;
    System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
    try {
      int status = alice.doAs((PrivilegedExceptionAction<Integer>) () ->
          ToolRunner.run(conf, new KeyShell(), new String[] {"list", "-provider", server.toString()}));
      assertEquals(0, status);
    } finally {
      System.setOut(out);
    }
    assertMentions(printed.toString(StandardCharsets.UTF_8), key);
  }

  /** Threads of one user share a client, which has one cookie. */
  @Test
  void threadsShareAClient() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try (KMSClientProvider kms = alice.doAs(
        (PrivilegedExceptionAction<KMSClientProvider>) () -> new KMSClientProvider(server, conf))) {
      List<Future<?>> calls = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        calls.add(threads.submit(() -> alice.doAs((PrivilegedExceptionAction<List<String>>) kms::getKeys)));
      }
      for (Future<?> one : calls) {
        one.get();
      }
    } finally {
      threads.shutdownNow();
    }
  }

  @Test
  void everyNameOfTheKeytab() throws Exception {
    assertTrue(KerberosServer.names().size() >= 2);
    for (String host : KerberosServer.names()) {
      names(alice, uri(host, port()));
    }
    // The KDC knows this one, the keytab does not.
    assertMentions(refusal(alice, uri("third.example.test", port())), "Authentication failure");
    // And of this one the KDC knows nothing.
    assertMentions(refusal(alice, uri("unknown.example.test", port())), "not found in Kerberos database");
  }

  @Test
  void whoHasNoTicketStaysOut() {
    assertMentions(refusal(UserGroupInformation.createRemoteUser("alice"), server), "Failed to find any Kerberos tgt");
  }

  @Test
  void onlyRulesLetNamesOfAnotherRealmIn() throws Exception {
    assertMentions(refusal(login("stranger@OTHER.REALM"), server), "403");
    UserGroupInformation guest = login("guest@OTHER.REALM");
    names(guest, server);
    DelegationTokenIdentifier identifier = (DelegationTokenIdentifier) tokenOf(guest, server).decodeIdentifier();
    assertEquals("visitor", identifier.getOwner().toString());
  }

  /** The life of a job's token: fetched by the submitter, used by containers, renewed by YARN, cancelled at the end. */
  @Test
  void aTokenFromIssueToCancellation() throws Exception {
    Token<?> token = tokenOf(alice, server);
    DelegationTokenIdentifier identifier = (DelegationTokenIdentifier) token.decodeIdentifier();
    assertEquals("kms-dt", token.getKind().toString());
    assertEquals("alice", identifier.getOwner().toString());
    assertEquals("yarn", identifier.getRenewer().toString());
    UserGroupInformation job = holder(token);
    names(job, server);
    String key = call(job, server, conf, kms -> {
      String name = "token-" + System.nanoTime();
      kms.createKey(name, options(128));
      kms.decryptEncryptedKey(kms.generateEncryptedKey(name));
      return name;
    });
    call(job, server, conf, kms -> {
      kms.deleteKey(key);
      return null;
    });
    // A token is not enough to get another one.
    assertThrows(Exception.class, () -> tokenOf(holder(token), server));

    UserGroupInformation yarn = login("yarn/rm.example.test");
    long until = yarn.doAs((PrivilegedExceptionAction<Long>) () -> token.renew(conf));
    assertTrue(until > System.currentTimeMillis());
    String told = chain(assertThrows(Exception.class,
        () -> login("bob").doAs((PrivilegedExceptionAction<Long>) () -> token.renew(conf))));
    assertMentions(told, "non-matching renewer yarn");

    yarn.doAs((PrivilegedExceptionAction<Void>) () -> {
      token.cancel(conf);
      return null;
    });
    assertMentions(refusal(holder(token), server), "InvalidToken");
    assertThrows(Exception.class, () -> yarn.doAs((PrivilegedExceptionAction<Long>) () -> token.renew(conf)));
  }

  @Test
  void proxyUsers() throws Exception {
    UserGroupInformation gateway = login("gateway/host.example.test");
    UserGroupInformation asAlice = UserGroupInformation.createProxyUser("alice", gateway);
    names(asAlice, server);
    DelegationTokenIdentifier identifier = (DelegationTokenIdentifier) tokenOf(asAlice, server).decodeIdentifier();
    assertEquals("alice", identifier.getOwner().toString());
    assertEquals("gateway", identifier.getRealUser().toString());
    names(holder(tokenOf(asAlice, server)), server);

    // The OPTIONS that authenticates is refused already, and the client tells its status only.
    for (UserGroupInformation wrong : List.of(UserGroupInformation.createProxyUser("mallory", gateway),
        UserGroupInformation.createProxyUser("alice", login("faraway/host.example.test")),
        UserGroupInformation.createProxyUser("alice", login("bob")))) {
      assertMentions(refusal(wrong, server), "403");
    }
  }

  /** The renew interval of this server is 3 s, the longest life 8 s. */
  @Test
  void aTokenThatExpires() throws Exception {
    URI brief = uri("localhost", shortPort());
    UserGroupInformation yarn = login("yarn/rm.example.test");
    Token<?> token = tokenOf(alice, brief);
    names(holder(token), brief);
    String told = refusedWithin(12, () -> names(holder(token), brief));
    assertMentions(told, "InvalidToken");
    assertMentions(told, "has expired");
    // Until it is swept away, or its longest life is over, it can be renewed.
    DelegationTokenIdentifier identifier = (DelegationTokenIdentifier) token.decodeIdentifier();
    if (System.currentTimeMillis() < identifier.getMaxDate() - 1000) {
      yarn.doAs((PrivilegedExceptionAction<Long>) () -> token.renew(conf));
    }
    told = refusedWithin(20, () -> yarn.doAs((PrivilegedExceptionAction<Long>) () -> token.renew(conf)));
    assertMentions(told, "tried to renew an expired token");
  }

  /** Tries until it is refused and says why. */
  private static String refusedWithin(int seconds, Executable attempt) throws Exception {
    long end = System.nanoTime() + seconds * 1_000_000_000L;
    while (System.nanoTime() < end) {
      try {
        attempt.execute();
      } catch (Throwable refused) {
        return chain(refused);
      }
      Thread.sleep(200);
    }
    throw new AssertionError("not refused within " + seconds + " s");
  }

  /** Tickets of 6 s and cookies of 2 s; calls go on for longer than two lives of a ticket. */
  @Test
  void ticketsAreRenewedWhileCallsGoOn() throws Exception {
    URI brief = uri("localhost", shortPort());
    UserGroupInformation worker = login("brief");
    Set<Long> tickets = new HashSet<>();
    long end = System.nanoTime() + 14_000_000_000L;
    int calls = 0;
    try (KMSClientProvider kms = worker.doAs(
        (PrivilegedExceptionAction<KMSClientProvider>) () -> new KMSClientProvider(brief, conf))) {
      while (System.nanoTime() < end) {
        worker.checkTGTAndReloginFromKeytab();
        worker.doAs((PrivilegedExceptionAction<List<String>>) kms::getKeys);
        calls++;
        tickets.add(issuedAt(worker));
        Thread.sleep(150);
      }
    }
    assertTrue(tickets.size() >= 3, tickets.size() + " tickets for " + calls + " calls");
    assertTrue(calls >= 20, calls + " calls");
  }

  private static long issuedAt(UserGroupInformation user) throws Exception {
    return user.doAs((PrivilegedExceptionAction<Long>) () -> {
      Subject subject = Subject.getSubject(AccessController.getContext());
      return subject.getPrivateCredentials(KerberosTicket.class).stream()
          .filter(t -> t.getServer().getName().startsWith("krbtgt/" + REALM))
          .mapToLong(t -> t.getAuthTime().getTime()).max().orElse(0);
    });
  }
}
