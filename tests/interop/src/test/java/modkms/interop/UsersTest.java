// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.security.PrivilegedExceptionAction;
import java.util.List;
import org.apache.hadoop.crypto.key.KeyProvider.KeyVersion;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension.EncryptedKeyVersion;
import org.apache.hadoop.crypto.key.kms.KMSClientProvider;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.security.token.Token;
import org.apache.hadoop.security.token.delegation.web.DelegationTokenIdentifier;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Who the server takes the caller for: plain users, proxy users and holders of delegation tokens. */
class UsersTest {
  @Test
  @Tag("delegation-token")
  void serversSeeEachUserUnderTheirOwnName() throws Exception {
    for (String user : List.of("alice", "bob", "svc.etl_01")) {
      Token<?> token = TestServer.as(user, () -> {
        try (KMSClientProvider kms = TestServer.client()) {
          return kms.getDelegationToken("yarn");
        }
      });
      DelegationTokenIdentifier identifier = (DelegationTokenIdentifier) token.decodeIdentifier();
      assertEquals("kms-dt", token.getKind().toString());
      assertEquals(user, identifier.getUser().getShortUserName());
      assertEquals("yarn", identifier.getRenewer().toString());
    }
  }

  @Test
  void usersShareKeys() throws Exception {
    try (TestKeys keys = new TestKeys(TestServer.client())) {
      String name = keys.name("shared");
      EncryptedKeyVersion eek = TestServer.as("alice", () -> {
        try (KMSClientProvider kms = TestServer.client()) {
          kms.createKey(name, options(128));
          return kms.generateEncryptedKey(name);
        }
      });
      byte[] asBob = TestServer.as("bob", () -> decrypt(eek));
      byte[] asCarol = TestServer.as("carol", () -> decrypt(eek));
      assertArrayEquals(asBob, asCarol);
      TestServer.as("bob", () -> {
        try (KMSClientProvider kms = TestServer.client()) {
          return kms.rollNewVersion(name);
        }
      });
      assertArrayEquals(asBob, TestServer.as("alice", () -> decrypt(eek)));
    }
  }

  /** One client object serves many users at once, as in the NameNode. */
  @Test
  void oneClientServesSeveralUsers() throws Exception {
    try (KMSClientProvider kms = TestServer.client(); TestKeys keys = new TestKeys(TestServer.client())) {
      String name = keys.name("one-client");
      kms.createKey(name, options(128));
      for (int round = 0; round < 2; round++) {
        for (String user : List.of("alice", "bob", "carol")) {
          KeyVersion dek = TestServer.as(user, () -> kms.decryptEncryptedKey(kms.generateEncryptedKey(name)));
          assertEquals(16, dek.getMaterial().length);
        }
      }
    }
  }

  /** The way of a YARN job: a token fetched by the submitter is all the job has. */
  @Test
  @Tag("delegation-token")
  void delegationTokenStandsForItsOwner() throws Exception {
    try (TestKeys keys = new TestKeys(TestServer.client())) {
      String name = keys.name("token");
      Token<?> token = TestServer.as("alice", () -> {
        try (KMSClientProvider kms = TestServer.client()) {
          kms.createKey(name, options(128));
          return kms.getDelegationToken("yarn");
        }
      });
      UserGroupInformation job = UserGroupInformation.createRemoteUser("container");
      job.addToken(token);
      byte[] dek = job.doAs((PrivilegedExceptionAction<byte[]>) () -> {
        try (KMSClientProvider kms = TestServer.client()) {
          assertTrue(kms.getKeys().contains(name));
          return kms.decryptEncryptedKey(kms.generateEncryptedKey(name)).getMaterial();
        }
      });
      assertEquals(16, dek.length);

      long expiry = TestServer.as("yarn", () -> {
        try (KMSClientProvider kms = TestServer.client()) {
          return kms.renewDelegationToken(token);
        }
      });
      assertTrue(expiry > System.currentTimeMillis());
      assertThrows(IOException.class, () -> TestServer.as("mallory", () -> {
        try (KMSClientProvider kms = TestServer.client()) {
          return kms.renewDelegationToken(token);
        }
      }));

      TestServer.as("alice", () -> {
        try (KMSClientProvider kms = TestServer.client()) {
          return kms.cancelDelegationToken(token);
        }
      });
      Exception e = assertThrows(Exception.class, () -> job.doAs((PrivilegedExceptionAction<Object>) () -> {
        try (KMSClientProvider kms = TestServer.client()) {
          return kms.getKeys();
        }
      }));
      assertChainMentions(e, "InvalidToken");
    }
  }

  /** Needs a user whom the server lets act for others: -Dkms.proxyuser=NAME. */
  @Test
  void proxyUserUsesKeysForAnother() throws Exception {
    String proxy = System.getProperty("kms.proxyuser", "");
    assumeFalse(proxy.isEmpty(), "kms.proxyuser is not set");
    UserGroupInformation effective =
        UserGroupInformation.createProxyUser("dave", UserGroupInformation.createRemoteUser(proxy));
    try (TestKeys keys = new TestKeys(TestServer.client())) {
      String name = keys.name("proxied");
      byte[] dek = effective.doAs((PrivilegedExceptionAction<byte[]>) () -> {
        try (KMSClientProvider kms = TestServer.client()) {
          kms.createKey(name, options(128));
          return kms.decryptEncryptedKey(kms.generateEncryptedKey(name)).getMaterial();
        }
      });
      assertEquals(16, dek.length);
    }
  }

  /** The token of a proxy user names both: -Dkms.proxyuser=NAME as above. */
  @Test
  @Tag("delegation-token")
  void proxyUserActsForAnother() throws Exception {
    String proxy = System.getProperty("kms.proxyuser", "");
    assumeFalse(proxy.isEmpty(), "kms.proxyuser is not set");
    UserGroupInformation real = UserGroupInformation.createRemoteUser(proxy);
    UserGroupInformation effective = UserGroupInformation.createProxyUser("dave", real);
    Token<?> token = effective.doAs((PrivilegedExceptionAction<Token<?>>) () -> {
      try (KMSClientProvider kms = TestServer.client()) {
        return kms.getDelegationToken("yarn");
      }
    });
    DelegationTokenIdentifier identifier = (DelegationTokenIdentifier) token.decodeIdentifier();
    assertEquals("dave", identifier.getOwner().toString());
    assertEquals(proxy, identifier.getRealUser().toString());
  }

  @Test
  void strangerMayNotActForAnother() throws Exception {
    UserGroupInformation real = UserGroupInformation.createRemoteUser("stranger");
    UserGroupInformation effective = UserGroupInformation.createProxyUser("dave", real);
    IOException e = assertThrows(IOException.class, () -> effective.doAs((PrivilegedExceptionAction<Object>) () -> {
      try (KMSClientProvider kms = TestServer.client()) {
        return kms.getKeys();
      }
    }));
    // The client's first request, the OPTIONS that authenticates, is refused already and hides the reason.
    assertChainMentions(e, "status: 403");
  }

  private static void assertChainMentions(Throwable thrown, String text) {
    StringBuilder chain = new StringBuilder();
    for (Throwable t = thrown; t != null; t = t.getCause()) {
      chain.append(t).append(System.lineSeparator());
    }
    assertTrue(chain.indexOf(text) >= 0, chain.toString());
  }

  private static byte[] decrypt(EncryptedKeyVersion eek) throws Exception {
    try (KMSClientProvider kms = TestServer.client()) {
      return kms.decryptEncryptedKey(eek).getMaterial();
    }
  }
}
