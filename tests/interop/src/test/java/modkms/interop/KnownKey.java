// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.key.KeyProvider;
import org.apache.hadoop.crypto.key.KeyProviderCryptoExtension;

/**
 * One key whose material the test knows. Wrapped in Hadoop's own crypto extension it computes in this
 * process what the server should compute.
 */
final class KnownKey extends KeyProvider {
  private final Map<String, KeyVersion> byName;
  private final KeyVersion current;

  private KnownKey(List<KeyVersion> versions) {
    super(new Configuration());
    byName = versions.stream().collect(Collectors.toMap(KeyVersion::getVersionName, Function.identity()));
    current = versions.get(versions.size() - 1);
  }

  static KeyProviderCryptoExtension crypto(List<KeyVersion> versions) {
    return KeyProviderCryptoExtension.createKeyProviderCryptoExtension(new KnownKey(versions));
  }

  @Override
  public KeyVersion getKeyVersion(String versionName) {
    return byName.get(versionName);
  }

  @Override
  public KeyVersion getCurrentKey(String name) {
    return current;
  }

  @Override
  public List<String> getKeys() {
    throw new UnsupportedOperationException();
  }

  @Override
  public List<KeyVersion> getKeyVersions(String name) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Metadata getMetadata(String name) {
    throw new UnsupportedOperationException();
  }

  @Override
  public KeyVersion createKey(String name, byte[] material, Options options) {
    throw new UnsupportedOperationException();
  }

  @Override
  public void deleteKey(String name) {
    throw new UnsupportedOperationException();
  }

  @Override
  public KeyVersion rollNewVersion(String name, byte[] material) {
    throw new UnsupportedOperationException();
  }

  @Override
  public void flush() {}
}
