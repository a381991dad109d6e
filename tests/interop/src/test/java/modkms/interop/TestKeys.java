// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import java.io.IOException;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.KeyProvider;

/** Keys of one test: names that no other run uses, and the deletion of all of them at the end. */
final class TestKeys implements AutoCloseable {
  private static final String RUN = "it" + Long.toString(System.currentTimeMillis(), 36);
  private static final AtomicInteger SERIAL = new AtomicInteger();
  private static final SecureRandom RANDOM = new SecureRandom();

  private final KeyProvider provider;
  private final List<String> names = new ArrayList<>();

  TestKeys(KeyProvider provider) {
    this.provider = provider;
  }

  /** A fresh name that ends in {@code suffix}; the key, if the test creates it, is deleted afterwards. */
  synchronized String name(String suffix) {
    String name = RUN + "-" + SERIAL.incrementAndGet() + "-" + suffix;
    names.add(name);
    return name;
  }

  static KeyProvider.Options options(int bits) {
    KeyProvider.Options options = KeyProvider.options(new Configuration());
    options.setBitLength(bits);
    return options;
  }

  static byte[] randomBytes(int length) {
    byte[] bytes = new byte[length];
    RANDOM.nextBytes(bytes);
    return bytes;
  }

  @Override
  public synchronized void close() throws IOException {
    for (String name : names) {
      if (provider.getMetadata(name) != null) {
        provider.deleteKey(name);
        provider.invalidateCache(name);
      }
    }
    provider.close();
  }
}
