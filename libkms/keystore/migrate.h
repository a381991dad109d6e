// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "core/result.h"
#include "hadoop/wire_json.h"
#include "keystore/keystore.h"

namespace kms {

// What became of one key on its way from one keystore to another.
struct KeyMigration {
  enum class State {
    copied,
    updated,        // the target's copy was older: versions were added, or it was made anew
    removed,        // it was copied, and then deleted in the source: the copy was taken away
    would_copy,     // the same three, of a pass that changes nothing
    would_update,   //
    would_remove,   //
    already_there,  // the same on both sides
    different,      // another key of this name is there; left alone
    failed,
  };
  State state = State::failed;
  std::string text;          // what differs, or why it failed
  hadoop::JsonPtr from, to;  // as described() has them; null: there is none
};

// Which keys of the target a migration has made, and by which digest (hex) it knows that nobody
// changed them since.
class MadeKeys {
 public:
  virtual ~MadeKeys() = default;
  using Digests = std::map<std::string, std::string>;
  virtual const Digests& all() const = 0;
  // Before the key is written, so that no key is made that nobody knows of. An error prevents it.
  virtual Result<void> note(const std::string& name, const std::string& digest) = 0;
  virtual Result<void> forget(const std::string& name) = 0;  // after it was taken away
};

using MigrationStep = std::function<void(std::size_t done, std::size_t total)>;  // keys

// One pass over the keys of from. What to does not have is copied as a whole; a copy that has the
// first versions of a key gets the others; a key that made says is ours, which nobody changed
// since, follows what became of the key in the source. Everything else in to is left alone. With
// act false nothing is changed. What is found goes to keys, by name. An error when the names of
// from cannot be told, or made has one; what concerns one key is in its entry.
Result<void> migrate_keys(KeyStore& from, KeyStore& to, MadeKeys& made, bool act,
                          std::map<std::string, KeyMigration>& keys,
                          const MigrationStep& step = {});

// Takes the keys of made out of to, if nobody changed them since. States: removed; already_there
// when it was gone; different when it was changed, and so left alone; failed.
void take_back(KeyStore& to, MadeKeys& made, std::map<std::string, KeyMigration>& keys,
               const MigrationStep& step = {});

}  // namespace kms
