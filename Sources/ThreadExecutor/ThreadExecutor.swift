import Glibc
import Synchronization

/// One thread that runs the jobs of one actor, and may block.
///
/// The clients of the C libraries are actors isolated to such an executor: libpq, librabbitmq and hiredis want one
/// thread at a time on a connection, and their calls block, which Swift's cooperative pool (one thread per core) must
/// never do. Jobs run first in, first out.
///
/// An executor cannot refuse a job, so it has no bound of its own: whoever hands work to the actor bounds it (the
/// pool's waiters, the publisher's window).
///
/// Lifetime: the thread keeps the executor alive until ``stop()``; the owning actor calls that in its `deinit`.
/// Besides jobs the thread can watch one file descriptor, see ``watch(_:tick:onEvent:)``.
package final class ThreadExecutor: SerialExecutor {
    private struct Watch {
        let descriptor: Int32
        let tick: Duration
        let onEvent: @Sendable () -> Void
    }

    private struct State {
        // Jobs are drained in whole batches, so that the lock is taken once a batch.
        var jobs: [UnownedJob] = []
        var watch: Watch?
        var isWakePending = false
        var isStopped = false
    }

    private let state = Mutex(State())
    private let wakeReader: Int32
    private let wakeWriter: Int32
    private let thread = Atomic<UInt>(0)

    /// Starts the thread; traps when the process is out of threads or file descriptors.
    package init() {
        var ends: [Int32] = [-1, -1]
        precondition(unsafe pipe(&ends) == 0, "pipe failed: the process is out of file descriptors")
        (wakeReader, wakeWriter) = (ends[0], ends[1])
        for end in ends {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        var handle = pthread_t()
        let context = unsafe Unmanaged.passRetained(self).toOpaque()
        let code = unsafe pthread_create(&handle, nil, { unsafe ThreadExecutor.main($0) }, context)
        precondition(code == 0, "pthread_create failed: the process is out of threads")
        pthread_detach(handle)
    }

    deinit {
        close(wakeReader)
        close(wakeWriter)
    }

    private static func main(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        guard let context = unsafe context else { return nil }
        let executor = unsafe Unmanaged<ThreadExecutor>.fromOpaque(context).takeRetainedValue()
        executor.thread.store(UInt(pthread_self()), ordering: .relaxed)
        executor.run()
        return nil
    }

    /// Hands a job to the thread; safe from any thread.
    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let mustWake = state.withLock { state in
            state.jobs.append(job)
            defer { state.isWakePending = true }
            return !state.isWakePending
        }
        if mustWake { wake() }
    }

    /// Ends the thread once the jobs that are queued have run; safe from any thread, and more than once.
    package func stop() {
        state.withLock {
            $0.isStopped = true
            $0.watch = nil
        }
        wake()
    }

    /// Calls `onEvent` on this thread whenever the descriptor is readable, has failed, or `tick` has passed.
    ///
    /// One descriptor at a time: a second call replaces the first. The closure must return quickly and read what made
    /// the descriptor readable, or it is called again at once. Call ``unwatch()`` before the descriptor is closed.
    package func watch(_ descriptor: Int32, tick: Duration, onEvent: @escaping @Sendable () -> Void) {
        state.withLock { $0.watch = Watch(descriptor: descriptor, tick: tick, onEvent: onEvent) }
        wake()
    }

    /// Stops watching; once it has returned on the executor's own thread the closure is not called again.
    package func unwatch() {
        state.withLock { $0.watch = nil }
    }

    /// Traps when the caller is not on this executor's thread (for `assumeIsolated`).
    package func checkIsolated() {
        precondition(isCurrentThread, "not on the executor's thread")
    }

    /// Whether the caller is on this executor's thread.
    package func isIsolatingCurrentContext() -> Bool? {
        isCurrentThread
    }

    private var isCurrentThread: Bool {
        thread.load(ordering: .relaxed) == UInt(pthread_self())
    }

    private func run() {
        var batch: [UnownedJob] = []
        while true {
            let (watch, isStopped) = state.withLock { state in
                swap(&batch, &state.jobs)
                state.isWakePending = !batch.isEmpty
                return (state.watch, state.isStopped)
            }
            if batch.isEmpty {
                if isStopped { return }
                wait(watch)
                continue
            }
            for job in batch {
                unsafe job.runSynchronously(on: asUnownedSerialExecutor())
            }
            batch.removeAll(keepingCapacity: true)
            // A busy mailbox must not starve the socket: look at it once a batch, without waiting.
            if let watch { look(at: watch) }
        }
    }

    /// Sleeps until a job or an event comes.
    private func wait(_ watch: Watch?) {
        var descriptors = [pollfd(fd: wakeReader, events: Int16(POLLIN), revents: 0)]
        var timeout: Int32 = -1
        if let watch {
            descriptors.append(pollfd(fd: watch.descriptor, events: Int16(POLLIN), revents: 0))
            timeout = watch.tick.pollMilliseconds
        }
        let ready = unsafe poll(&descriptors, nfds_t(descriptors.count), timeout)
        if descriptors[0].revents != 0 {
            var bytes: (UInt64, UInt64) = (0, 0)
            unsafe _ = read(wakeReader, &bytes, 16)
        }
        guard let watch, ready == 0 || descriptors[1].revents != 0 else { return }
        call(watch)
    }

    private func look(at watch: Watch) {
        var descriptor = pollfd(fd: watch.descriptor, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&descriptor, 1, 0) > 0 else { return }
        call(watch)
    }

    /// Calls the watcher, unless a job has replaced or removed it in the meantime.
    private func call(_ watch: Watch) {
        let isCurrent = state.withLock { $0.watch?.descriptor == watch.descriptor }
        if isCurrent { watch.onEvent() }
    }

    private func wake() {
        // A full pipe is fine: then a wake-up is waiting already.
        var byte: UInt8 = 1
        unsafe _ = write(wakeWriter, &byte, 1)
    }
}
