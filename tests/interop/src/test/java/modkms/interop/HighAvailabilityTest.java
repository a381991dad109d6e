// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static modkms.interop.TestKeys.options;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension.EncryptedKeyVersion;
import org.apache.hadoop.crypto.key.KeyProviderFactory;
import org.apache.hadoop.crypto.key.kms.LoadBalancingKMSClientProvider;
import org.apache.log4j.AppenderSkeleton;
import org.apache.log4j.Logger;
import org.apache.log4j.spi.LoggingEvent;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * Two nodes behind one {@code kms://https@h1;h2:port/kms} and clients that never stop: nodes are killed, started again,
 * restarted gracefully and given another cookie secret. No call may fail.
 */
class HighAvailabilityTest {
  private static final int THREADS = 5;
  private static final long STEP_MS = 1500;

  private final AtomicLong calls = new AtomicLong();
  private final AtomicInteger failovers = new AtomicInteger();
  private final List<Throwable> failures = new ArrayList<>();
  private final FailoverCounter counter = new FailoverCounter();
  private final Logger log = Logger.getLogger(LoadBalancingKMSClientProvider.class);
  private volatile boolean stopping;

  private LoadBalancingKMSClientProvider kms;
  private TestKeys keys;

  @BeforeEach
  void connect() throws IOException {
    TlsServer.assumeThere();
    log.addAppender(counter);
    kms = provider();
    keys = new TestKeys(kms);
  }

  @AfterEach
  void deleteKeys() throws IOException {
    if (keys != null) {
      keys.close();
    }
    log.removeAppender(counter);
  }

  @Test
  void noCallFails() throws Exception {
    String name = keys.name("ha");
    kms.createKey(name, options(256));
    EncryptedKeyVersion eek = kms.generateEncryptedKey(name);
    byte[] dek = KnownKey.crypto(kms.getKeyVersions(name)).decryptEncryptedKey(eek).getMaterial();
    String unauthenticated = tell("unauthenticated");

    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < THREADS; i++) {
      threads.add(start(() -> use(kms, name, eek, dek)));
    }
    threads.add(start(() -> useOnce(name, eek, dek)));
    step("both nodes");
    tell("kill?node=0");
    step("node 0 killed");
    tell("start?node=0");
    step("node 0 back");
    tell("kill?node=1");
    step("node 1 killed");
    tell("start?node=1");
    step("node 1 back");
    tell("graceful?node=0");
    tell("graceful?node=1");
    step("graceful restarts");
    assertEquals(unauthenticated, tell("unauthenticated"), "requests that somebody refused");
    rollSecret();
    assertEquals(unauthenticated, tell("unauthenticated"), "requests refused while the secret was rolled");

    stopping = true;
    for (Thread thread : threads) {
      thread.join(60_000);
    }
    System.out.printf("load: in all %d calls, %d failed, %d failovers inside the client, %s requests refused%n", calls.get(),
        failures.size(), failovers.get(), tell("unauthenticated"));
    assertEquals(List.of(), failures);
    assertTrue(calls.get() > 500, "only " + calls + " calls");
    assertTrue(failovers.get() > 0, "no node was missed");
  }

  /** Without a roll, a start gives every node the same secret; so cookies of before still count. */
  private void rollSecret() throws Exception {
    tell("next-secret");
    KmsNode.sleep(5000);
    tell("switch-secret?node=0");
    step("secret rolled on node 0");
    tell("switch-secret?node=1");
    step("secret rolled on node 1");
    tell("kill?node=0");
    tell("start?node=0");
    step("node 0 killed and back with the new secret");
  }

  /** What a service does for as long as it lives. */
  private void use(LoadBalancingKMSClientProvider provider, String name, EncryptedKeyVersion eek, byte[] dek)
      throws Exception {
    assertArrayEquals(dek, provider.decryptEncryptedKey(eek).getMaterial());
    EncryptedKeyVersion fresh = provider.generateEncryptedKey(name);
    assertEquals(dek.length, provider.decryptEncryptedKey(fresh).getMaterial().length);
    assertArrayEquals(dek, provider.decryptEncryptedKey(provider.reencryptEncryptedKey(eek)).getMaterial());
    assertNotNull(provider.getCurrentKey(name));
    assertEquals(256, provider.getMetadata(name).getBitLength());
    calls.addAndGet(7);
  }

  /** What a job does: it comes without a cookie, asks a few times and goes. */
  private void useOnce(String name, EncryptedKeyVersion eek, byte[] dek) throws Exception {
    try (LoadBalancingKMSClientProvider job = provider()) {
      use(job, name, eek, dek);
    }
  }

  private static LoadBalancingKMSClientProvider provider() throws IOException {
    return (LoadBalancingKMSClientProvider) KeyProviderFactory.get(TlsServer.pair(), TlsServer.configuration());
  }

  private interface Work {
    void run() throws Exception;
  }

  private Thread start(Work work) {
    Thread thread = new Thread(() -> {
      while (!stopping) {
        try {
          work.run();
        } catch (Exception | AssertionError e) {
          synchronized (failures) {
            failures.add(e);
          }
          e.printStackTrace();
        }
      }
    });
    thread.start();
    return thread;
  }

  /** Lets the load run on and says what it has done meanwhile. */
  private void step(String what) {
    long before = calls.get();
    int failedBefore = failures.size();
    int failoversBefore = failovers.get();
    KmsNode.sleep(STEP_MS);
    System.out.printf("load: %-45s %6d calls, %d failed, %d failovers%n", what, calls.get() - before,
        failures.size() - failedBefore, failovers.get() - failoversBefore);
  }

  private static String tell(String command) throws IOException {
    HttpURLConnection connection =
        (HttpURLConnection) new URL(TlsServer.property("kms.tls.control") + command).openConnection();
    int status = connection.getResponseCode();
    try (var stream = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
      String said = new String(stream.readAllBytes(), StandardCharsets.UTF_8);
      if (status != 200) {
        throw new IOException(command + ": " + said);
      }
      return said;
    }
  }

  /** The client warns each time it turns from one node to the next. */
  private final class FailoverCounter extends AppenderSkeleton {
    @Override
    protected void append(LoggingEvent event) {
      if (event.getRenderedMessage().contains("threw an IOException")) {
        failovers.incrementAndGet();
      }
    }

    @Override
    public void close() {}

    @Override
    public boolean requiresLayout() {
      return false;
    }
  }
}
