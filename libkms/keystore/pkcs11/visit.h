// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "keystore/pkcs11/pkcs11_store.h"
#include "pkcs11/access.h"
#include "pkcs11/library.h"

namespace kms::pkcs11 {

// A login for as long as the object lives, of a process that serves nothing and ends soon. With
// options.trustee.token it shares that one's, which must live longer.
class Visit {
 public:
  static Result<std::unique_ptr<Visit>> open(const StoreOptions& options, const Profile& profile);
  ~Visit() {
    if (alone_) library->C_Finalize(nullptr);
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

  Session session() const { return {library.operator->(), login.session}; }
  Result<std::vector<TokenKey>> keys() const;  // every AES key of the token
  // Logs in anew, once in its life and not where it shares a login: false when it did not. What
  // another process made or uses may not show, or not as it is, in a view of the token that is
  // older. After an error the visit is over.
  Result<bool> renew();

  const std::string& library_file() const { return access_.library; }

  Library library;
  Login login;

 private:
  Visit(Library l, TokenAccess access, bool alone)
      : library(l), access_(std::move(access)), alone_(alone) {}
  const TokenAccess access_;
  const bool alone_;
  bool renewed_ = false;
};

void tell_facts(const Visit& visit, TokenReport& report);
// Whether the object of a version is there: good, missing, differs; what is not good is looked at
// in a renewed view as well. Errors: of Visit::renew().
Result<Finding> look_at_object(Visit& visit, const KeyRef& key);

// What a store knows of the objects in the token, by their ids.
struct KnownObjects {
  std::string store_id;  // with which the ids of its objects begin; empty: it has none
  std::set<std::string> of_versions, pending;
};
// Those of keys that are of no version: pending, orphan, foreign.
void add_others(const std::vector<TokenKey>& keys, const KnownObjects& known,
                std::vector<Finding>& findings);

// Calls work with the orphan or pending object of each of these ids. Errors: of work;
// invalid_argument for an id of none.
Result<void> each_orphan(const std::vector<Finding>& findings, const std::vector<std::string>& ids,
                         const std::function<Result<void>(const Finding&)>& work);
// The object of one; it may be gone by now.
Result<void> destroy(const Visit& visit, const Finding& finding);

}  // namespace kms::pkcs11
