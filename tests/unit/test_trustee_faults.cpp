// SPDX-License-Identifier: Apache-2.0
// The store on a real PostgreSQL that fails: connections that break at every statement, conflicts
// at every statement, a database that is killed and comes back.
#include "trustee_node.h"

namespace {

using namespace kms;
using Cut = unit::CuttingProxy::Cut;

using unit::aes;
using unit::good;
using unit::Node;
using unit::server;

std::string count(const std::string& table, const std::string& name) {
  return server->run("SELECT COUNT(*) FROM " + table + " WHERE name = '" + name + "'");
}

// Each operation of a key's life with one fault in its n-th statement; false once there is none
// with that number. Every operation succeeds, once, and asks for its approval once.
using Fault = std::function<void()>;
using Struck = std::function<bool()>;
bool lives_through(Node& node, const std::string& name, const Fault& fault, const Struck& struck) {
  int asked = 0;
  const auto agree = [&](const KeyVersion*) -> Result<void> {
    ++asked;
    return {};
  };
  bool any = false;
  fault();
  const VersionPtr first = good(node->create(name, aes(), nullptr, agree));
  any = any || struck();
  assert_int_equal(asked, 1);
  unit::assert_text(count("kms_key", name), "1");
  unit::assert_text(count("kms_key_version", name), "1");
  assert_true(good(node->current_version(name))->material.equals(first->material.view()));
  fault();
  const VersionPtr second = good(node->roll(name, nullptr, agree));
  any = any || struck();
  assert_int_equal(asked, 2);
  unit::assert_text(second->version_name, name + "@1");
  unit::assert_text(count("kms_key_version", name), "2");
  assert_true(good(node->current_version(name))->material.equals(second->material.view()));
  assert_true(good(node->version(name + "@0"))->material.equals(first->material.view()));
  fault();
  good(node->remove(name, agree));
  any = any || struck();
  assert_int_equal(asked, 3);
  assert_null(good(node->metadata(name)).get());
  fault();
  good(node->undelete(name, agree));
  any = any || struck();
  assert_int_equal(asked, 4);
  assert_true(good(node->current_version(name))->material.equals(second->material.view()));
  good(node->remove(name));
  fault();
  good(node->purge(name, agree));
  any = any || struck();
  assert_int_equal(asked, 5);
  unit::assert_text(count("kms_key", name), "0");
  unit::assert_text(count("kms_key_version", name), "0");
  return any;
}

void connections_break_at_every_statement(void**) {
  unit::CuttingProxy proxy(server->port());
  Node node(proxy.port());
  int statements = 0;
  for (const Cut how : {Cut::before, Cut::after}) {
    for (int n = 1;; ++n) {
      const std::string name = "cut" + std::to_string(static_cast<int>(how)) + std::to_string(n);
      const bool struck = lives_through(
          node, name, [&] { proxy.cut(n, how); }, [&] { return proxy.was_cut(); });
      proxy.cut(0, Cut::none);
      if (!struck) break;
      ++statements;
    }
  }
  // BEGIN, four to five statements, COMMIT; each both ways.
  assert_true(statements >= 12);
}

// Raised by the server itself, in a trigger; the count of a sequence is not undone by a rollback.
void conflicts_at_every_statement(void**) {
  server->run("CREATE SEQUENCE strikes");
  server->run(
      "CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " IF nextval('strikes') = 1 THEN RAISE EXCEPTION 'struck' USING ERRCODE = '40001'; END IF;"
      " RETURN COALESCE(NEW, OLD); END $$");
  Node node(server->port());
  int places = 0;
  const auto trigger = [&](const std::string& kind, const std::string& table,
                           const std::string& when = "") {
    server->run("CREATE " + kind + " ON " + table + when +
                " FOR EACH ROW EXECUTE FUNCTION strike()");
    const bool struck = lives_through(
        node, "conflict" + std::to_string(++places),
        [] { server->run("SELECT setval('strikes', 1, false)"); },
        [] { return server->run("SELECT last_value > 1 OR is_called FROM strikes") == "t"; });
    assert_true(struck);
    server->run("DROP TRIGGER t ON " + table);
  };
  for (const char* table : {"kms_key", "kms_key_version"})
    trigger("TRIGGER t BEFORE INSERT OR UPDATE OR DELETE", table);
  trigger("TRIGGER t BEFORE UPDATE", "kms_change");
  trigger("TRIGGER t BEFORE INSERT", "kms_change_log");
  // At the COMMIT.
  trigger("CONSTRAINT TRIGGER t AFTER INSERT", "kms_change_log", " DEFERRABLE INITIALLY DEFERRED");
  server->run("DROP FUNCTION strike");
}

// Where every transaction is serializable real 40001 come: of two rolls at the same moment the
// later one tries again. Once its line is in the audit log it may not make another version than
// that; then it is refused, and nothing of it is there.
void a_serializable_database(void**) {
  constexpr int kRolls = 60;
  const auto rollbacks = [] {
    return std::stol(
        server->run("SELECT xact_rollback FROM pg_stat_database WHERE datname = 'postgres'"));
  };
  server->run("ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'");
  {
    Node a(server->port()), b(server->port());
    good(a->create("serial", aes(), nullptr));
    const long before = rollbacks();
    std::mutex mutex;
    std::map<std::string, VersionPtr> made;
    std::string wrong;
    std::vector<std::thread> threads;
    for (Node* node : {&a, &b, &a, &b})
      threads.emplace_back([&, node] {
        for (int i = 0; i < kRolls; ++i) {
          auto rolled = (*node)->roll("serial", nullptr);
          const std::lock_guard hold(mutex);
          if (rolled.ok() && !made.emplace((*rolled)->version_name, *rolled).second)
            wrong += (*rolled)->version_name + " twice; ";
          if (!rolled.ok() && rolled.error().kind != ErrorKind::unavailable)
            wrong += rolled.error().message + "; ";
        }
      });
    for (std::thread& each : threads) each.join();
    unit::assert_text(wrong, "");
    assert_true(made.size() > kRolls);
    Node fresh(server->port());
    assert_int_equal(good(fresh->versions("serial")).size(), made.size() + 1);
    for (const auto& [name, version] : made)
      assert_true(good(fresh->version(name))->material.equals(version->material.view()));
    assert_true(unit::eventually([&] { return rollbacks() > before; }));
    print_message("%d rolls, %d of them carried out\n", 4 * kRolls, static_cast<int>(made.size()));
    for (const char* name : {"ser1", "ser2"})
      assert_true(lives_through(
          a, name, [] {}, [] { return true; }));
  }
  server->run("ALTER DATABASE postgres RESET default_transaction_isolation");
}

// An administrator ends all sessions, again and again, while keys are made.
void ended_sessions_lose_nothing(void**) {
  Node node(server->port());
  std::atomic<bool> stop{false};
  std::atomic<int> done{0};
  std::thread ender([&] {
    // A machine so busy that nothing is done between two ends has to get on as well.
    for (int seen = -1; !stop;) {
      if (done == seen) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      seen = done;
      if (const auto connection = server->connect(); connection != nullptr)
        (void)connection->run(
            "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name ="
            " 'mod_kms' AND pid <> pg_backend_pid()");
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  std::map<std::string, std::string> made;
  std::string failure;
  for (int i = 0; i < 100; ++i) {
    auto key = node->create("ended" + std::to_string(i), aes(), nullptr);
    if (!key.ok()) {
      failure = key.error().message;
      break;
    }
    made[(*key)->name] = unit::to_hex((*key)->material.view());
    ++done;
  }
  stop = true;
  ender.join();
  unit::assert_text(failure, "");
  unit::assert_text(server->run("SELECT COUNT(*) FROM kms_key WHERE name LIKE 'ended%'"), "100");
  for (const auto& [name, material] : made)
    unit::assert_text(unit::to_hex(good(node->current_version(name))->material.view()), material);
}

// The server that takes over does not have the last roll, which the node has in memory: the one
// that died had shown it, though its standby did not have it yet.
void what_only_the_dead_server_had_is_forgotten(void**) {
  Node node(server->port());
  const VersionPtr first = good(node->create("phantom", aes(), nullptr));
  for (const char* table : {"kms_key", "kms_key_version"})
    server->run("CREATE TABLE had_" + std::string(table) + " AS SELECT * FROM " + table);
  good(node->roll("phantom", nullptr));
  unit::assert_text(good(node->current_version("phantom"))->version_name, "phantom@1");
  // Another change has its number in the log by now.
  std::string back = "DO $$ BEGIN UPDATE kms_change_log SET name = 'x' WHERE name = 'phantom'; ";
  for (const std::string table : {"kms_key", "kms_key_version"})
    back +=
        "DELETE FROM " + table + "; INSERT INTO " + table + " SELECT * FROM had_" + table + "; ";
  server->run(back + "END $$");
  server->stop(SIGKILL);
  server->start();
  assert_true(unit::eventually([&] {
    const auto now = node->current_version("phantom");
    return now.ok() && (*now)->version_name == "phantom@0";
  }));
  const VersionPtr again = good(node->roll("phantom", nullptr));
  Node other(server->port());
  assert_true(good(other->version("phantom@1"))->material.equals(again->material.view()));
  assert_true(good(node->version("phantom@1"))->material.equals(again->material.view()));
  assert_true(good(node->version("phantom@0"))->material.equals(first->material.view()));
}

// What is in memory may be all there is soon.
void memory_outlives_connections_to_the_same_server(void**) {
  Node node(server->port(), [](TrusteeOptions& options) { options.stale_reads_ms = 6000; });
  const VersionPtr made = good(node->create("kept", aes(), nullptr));
  // The look for changes finds the new key once more.
  const std::string sessions =
      "FROM pg_stat_activity WHERE application_name = 'mod_kms' AND pid <> pg_backend_pid()";
  const auto looked_since = [&](const std::string& time) {
    return unit::eventually([&] {
      return server->run("SELECT COUNT(*) > 0 " + sessions +
                         " AND state = 'idle' AND query_start > '" + time + "'::timestamptz") ==
             "t";
    });
  };
  assert_true(looked_since(server->run("SELECT clock_timestamp() + '300 ms'")));
  good(node->current_version("kept"));
  server->run("SELECT COUNT(pg_terminate_backend(pid)) " + sessions);
  assert_true(looked_since(server->run("SELECT clock_timestamp() + '300 ms'")));
  server->stop(SIGKILL);
  assert_true(good(node->current_version("kept"))->material.equals(made->material.view()));
  server->start();
}

void a_killed_database_comes_back(void**) {
  Node node(server->port(), [](TrusteeOptions& options) {
    options.timeout_ms = 2000;
    options.stale_reads_ms = 6000;
  });
  Node strict(server->port(), [](TrusteeOptions& options) {
    options.timeout_ms = 2000;
    options.stale_reads_ms = 0;
  });
  const VersionPtr made = good(node->create("away", aes(), nullptr));
  good(node->current_version("away"));
  assert_true(unit::eventually([&] { return strict->current_version("away").ok(); }));
  const std::int64_t killed = steady_ms();
  server->stop(SIGKILL);
  assert_true(unit::eventually([&] { return strict.lines.has("KMS0131"); }));
  auto refused = strict->current_version("away");
  // Its memory was looked at less than a second ago, or it refuses.
  assert_true(unit::eventually([&] { return !strict->current_version("away").ok(); }, 3000));
  refused = strict->current_version("away");
  assert_int_equal(refused.error().kind, ErrorKind::unavailable);
  // From memory, past the second that needs no look; what is not there is refused.
  while (steady_ms() < killed + 2000) {
    assert_true(good(node->current_version("away"))->material.equals(made->material.view()));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  assert_int_equal(node->current_version("never seen").error().kind, ErrorKind::unavailable);
  assert_int_equal(node->create("during", aes(), nullptr).error().kind, ErrorKind::unavailable);
  assert_int_equal(node->roll("away", nullptr).error().kind, ErrorKind::unavailable);
  // A change that was refused takes nothing from memory.
  assert_true(good(node->current_version("away"))->material.equals(made->material.view()));
  assert_true(node.lines.has("KMS0131"));
  assert_int_equal(node->condition().state, HealthState::degraded);
  assert_int_equal(strict->condition().state, HealthState::failing);
  // Not for ever.
  assert_true(
      unit::eventually([&] { return !node->current_version("away").ok(); }, 6000 + 1000 + 5000));
  assert_int_equal(node->condition().state, HealthState::failing);
  server->start();
  assert_true(unit::eventually([&] { return node->current_version("away").ok(); }));
  assert_true(unit::eventually([&] { return strict->current_version("away").ok(); }));
  assert_true(unit::eventually([&] { return node.lines.has("KMS0132"); }));
  assert_int_equal(node->condition().state, HealthState::good);
  assert_int_equal(good(node->metadata("away"))->versions, 1);
  assert_null(good(node->metadata("during")).get());
  good(node->roll("away", nullptr));
}

// A node that starts while the database is away serves once it is there.
void a_start_without_the_database(void**) {
  server->stop(SIGINT);
  unit::Lines lines;
  assert_false(open_trustee_store(server->uri(), server->options(), lines, true).ok());
  Node node(server->port(), [](TrusteeOptions& options) { options.timeout_ms = 2000; });
  assert_true(node.lines.has("KMS0130"));
  assert_int_equal(node->metadata("away").error().kind, ErrorKind::unavailable);
  assert_int_equal(node->create("early", aes(), nullptr).error().kind, ErrorKind::unavailable);
  server->start();
  assert_true(unit::eventually([&] { return node->metadata("away").ok(); }));
  assert_int_equal(good(node->metadata("away"))->versions, 2);
  good(node->create("early", aes(), nullptr));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(connections_break_at_every_statement),
      cmocka_unit_test(conflicts_at_every_statement),
      cmocka_unit_test(a_serializable_database),
      cmocka_unit_test(ended_sessions_lose_nothing),
      cmocka_unit_test(what_only_the_dead_server_had_is_forgotten),
      cmocka_unit_test(memory_outlives_connections_to_the_same_server),
      cmocka_unit_test(a_killed_database_comes_back),
      cmocka_unit_test(a_start_without_the_database),
  };
  return unit::run_on_a_store(tests);
}
