#include "network/threads.h"

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace sparrot {
namespace {

constexpr std::chrono::microseconds kSpin{50};

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until done() by spinning, then by giving way to other threads.
template <class Done>
void SpinThenYield(const Done& done) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  while (!done()) {
    for (int i = 0; i < 64 && !done(); ++i) Pause();
    if (std::chrono::steady_clock::now() >= until) std::this_thread::yield();
  }
}

class ThreadPool {
 public:
  // Fewer helpers if the system has no room for more threads; what is computed is the same.
  explicit ThreadPool(std::size_t n_helpers) {
    helpers_.reserve(n_helpers);
    try {
      for (std::size_t i = 0; i < n_helpers; ++i) helpers_.emplace_back([this] { Help(); });
    } catch (const std::exception&) {
    }
  }

  ~ThreadPool() {
    stopping_.store(true, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
  }

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  void Run(std::size_t n_tasks, const std::function<void(std::size_t)>& task) {
    task_ = &task;
    n_tasks_ = n_tasks;
    next_.store(0, std::memory_order_relaxed);
    helping_.store(helpers_.size(), std::memory_order_relaxed);
    error_ = nullptr;
    round_.fetch_add(1, std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_seq_cst) > 0) round_.notify_all();
    Work();
    SpinThenYield([this] { return helping_.load(std::memory_order_acquire) == 0; });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void Help() {
    for (std::uint64_t seen = 0;;) {
      const auto until = std::chrono::steady_clock::now() + kSpin;
      while (round_.load(std::memory_order_acquire) == seen) {
        Pause();
        if (std::chrono::steady_clock::now() < until) continue;
        asleep_.fetch_add(1, std::memory_order_seq_cst);
        round_.wait(seen, std::memory_order_seq_cst);
        asleep_.fetch_sub(1, std::memory_order_relaxed);
      }
      ++seen;
      if (stopping_.load(std::memory_order_relaxed)) return;
      Work();
      helping_.fetch_sub(1, std::memory_order_release);
    }
  }

  void Work() {
    for (std::size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < n_tasks_;) {
      try {
        (*task_)(i);
      } catch (...) {
        const std::lock_guard lock(error_mutex_);
        if (!error_) error_ = std::current_exception();
      }
    }
  }

  std::vector<std::thread> helpers_;
  std::atomic<std::uint64_t> round_ = 0;  // tasks given out so far
  std::atomic<std::size_t> asleep_ = 0;
  std::atomic<std::size_t> helping_ = 0;  // helpers that are not done with this round
  std::atomic<std::size_t> next_ = 0;
  std::atomic<bool> stopping_ = false;
  const std::function<void(std::size_t)>* task_ = nullptr;
  std::size_t n_tasks_ = 0;
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

// What a process has: the number that was asked for, and the pool once it was needed. A child that was forked off
// gets a new one, since threads are not forked; the old one is left alone, as it was in the middle of anything.
struct Owner {
  std::atomic_flag busy;
  std::unique_ptr<ThreadPool> pool;
  std::size_t n_helpers = 0;
};

class Release {
 public:
  explicit Release(std::atomic_flag& flag) : flag_(flag) {}
  ~Release() { flag_.clear(std::memory_order_release); }
  Release(const Release&) = delete;
  Release& operator=(const Release&) = delete;

 private:
  std::atomic_flag& flag_;
};

std::atomic<std::size_t> n_threads = 1;
std::atomic<Owner*> owner = nullptr;

Owner& CurrentOwner() {
  static std::once_flag once;
  std::call_once(once, [] {
    owner.store(new Owner);
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { owner.store(new Owner); });
#endif
  });
  return *owner.load();
}

}  // namespace

void SetThreads(std::size_t n) {
  if (n < 1 || n > kMaxThreads) {
    throw std::invalid_argument("the engine runs on 1 to " + std::to_string(kMaxThreads) + " threads; got " +
                                std::to_string(n));
  }
  n_threads.store(n);
}

std::size_t Threads() { return n_threads.load(); }

void RunTasks(std::size_t n_tasks, const std::function<void(std::size_t)>& task) {
  const std::size_t n_helpers = Threads() - 1;
  if (n_tasks > 1 && n_helpers > 0) {
    Owner& own = CurrentOwner();
    if (!own.busy.test_and_set(std::memory_order_acquire)) {
      const Release release(own.busy);
      if (!own.pool || own.n_helpers != n_helpers) {
        own.pool.reset();
        own.pool = std::make_unique<ThreadPool>(n_helpers);
        own.n_helpers = n_helpers;
      }
      own.pool->Run(n_tasks, task);
      return;
    }
  }
  for (std::size_t i = 0; i < n_tasks; ++i) task(i);
}

}  // namespace sparrot
