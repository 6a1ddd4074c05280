import Glibc
import Synchronization

/// Lines written to standard output or standard error.
enum LineOutput {
    private static let lock = Mutex(())

    /// Writes the whole line at once; lines of several threads don't mix.
    ///
    /// A reader that is gone loses lines.
    static func write(_ line: String, to descriptor: Int32) {
        lock.withLock { _ in
            var rest = Array(line.utf8)[...]
            while !rest.isEmpty {
                let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return }
                rest = rest.dropFirst(count)
            }
        }
    }
}
