// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "instance.h"

namespace kms {

// Said by requests with a big body: what the parser needed is given back to the system within a
// second. glibc keeps a heap for each thread and would hold on to the largest use of every one of
// them.
void note_big_body() noexcept;

// The one background thread of a child: about once a second it lets each instance look at its files
// (ACLs, keystore) and write due audit summaries. Made after the fork, joined before the child's
// pools go.
class Maintenance {
 public:
  explicit Maintenance(std::vector<Instance*> instances);
  ~Maintenance();

 private:
  void run();
  std::vector<Instance*> instances_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace kms
