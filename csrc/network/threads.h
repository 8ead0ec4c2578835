// The threads of a process that compute.
#pragma once

#include <cstddef>
#include <functional>

namespace sparrot {

inline constexpr std::size_t kMaxThreads = 256;

// Threads that a task may run on, the caller's own counted; 1 until it is set. Throws std::invalid_argument
// unless it is between 1 and 256.
void SetThreads(std::size_t n);
std::size_t Threads();

// Calls task(0) … task(n_tasks − 1), each once, on the caller's thread and those of the pool, and returns when all
// have returned. If one throws, the first exception is thrown here after the others have returned.
//
// There is one pool a process. A caller that finds it busy runs all tasks itself, and so does a task that calls
// this again. The pool's threads wait for the next tasks by spinning, for 50 µs, and then asleep. A forked child
// starts threads of its own when it first needs them. If the system gives fewer, those share the tasks.
void RunTasks(std::size_t n_tasks, const std::function<void(std::size_t)>& task);

}  // namespace sparrot
