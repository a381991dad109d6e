// SPDX-License-Identifier: Apache-2.0
package modkms.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.crypto.key.KeyShell;
import org.apache.hadoop.util.ToolRunner;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The operator's command {@code hadoop key}. */
class KeyShellTest {
  private TestKeys keys;

  private record Outcome(int exitCode, String output) {}

  @BeforeEach
  void connect() throws IOException {
    keys = new TestKeys(TestServer.client());
  }

  @AfterEach
  void deleteKeys() throws IOException {
    keys.close();
  }

  @Test
  void managesAKeyFromCreationToDeletion() throws Exception {
    String name = keys.name("shell");
    assertSays(key("create", name, "-size", "256", "-description", "made by hadoop key", "-attr", "team=etl"),
        name + " has been successfully created");

    assertSays(key("list"), name);
    Outcome metadata = key("list", "-metadata");
    assertSays(metadata, name + " : cipher: AES/CTR/NoPadding, length: 256, description: made by hadoop key");
    assertSays(metadata, "team=etl");
    assertSays(metadata, "version: 1");

    assertSays(key("roll", name), name + " has been successfully rolled");
    assertSays(key("list", "-metadata"), "version: 2");
    assertSays(key("invalidateCache", name), "successfully invalidated");

    assertSays(key("delete", name, "-f"), name + " has been successfully deleted");
    Outcome left = key("list");
    assertEquals(0, left.exitCode());
    assertFalse(left.output().contains(name), left.output());
  }

  @Test
  void createsWithDefaults() throws Exception {
    String name = keys.name("defaults");
    assertEquals(0, key("create", name).exitCode());
    assertSays(key("list", "-metadata"), name + " : cipher: AES/CTR/NoPadding, length: 128, description: null");
  }

  @Test
  void failsWithMessageAndExitCode() throws Exception {
    String name = keys.name("failing");
    assertEquals(0, key("create", name).exitCode());
    Outcome twice = key("create", name);
    assertEquals(1, twice.exitCode());
    assertTrue(twice.output().contains(name + " already exists"), twice.output());

    Outcome missing = key("roll", name + "-missing");
    assertNotEquals(0, missing.exitCode());
    Outcome upper = key("create", keys.name("Upper"));
    assertEquals(1, upper.exitCode());
    assertTrue(upper.output().contains("Upper"), upper.output());
  }

  private static void assertSays(Outcome outcome, String text) {
    assertEquals(0, outcome.exitCode(), outcome.output());
    assertTrue(outcome.output().contains(text), outcome.output());
  }

  private static Outcome key(String... arguments) throws Exception {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.add("-provider");
    line.add(TestServer.loadBalancingUri().toString());
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    PrintStream stream = new PrintStream(bytes, true, StandardCharsets.UTF_8);
    PrintStream out = System.out;
    PrintStream err = System.err;
    KeyShell shell = new KeyShell();
    shell.setOut(stream);
    shell.setErr(stream);
    System.setOut(stream);
    System.setErr(stream);
    int exitCode;
    try {
      exitCode = ToolRunner.run(TestServer.configuration(), shell, line.toArray(new String[0]));
    } finally {
      System.setOut(out);
      System.setErr(err);
    }
    Outcome outcome = new Outcome(exitCode, bytes.toString(StandardCharsets.UTF_8));
    System.out.println(line + " -> " + outcome);
    return outcome;
  }
}
