import Foundation
import Glibc
import Synchronization

/// A TCP listener on a free loopback port that plays a broken Redis: each connection is handed to `serve`, on a thread
/// of its own, and closed when that returns.
package final class FakeServer: Sendable {
    package let port: UInt16
    private let listener: Int32
    private let serve: @Sendable (Peer) -> Void
    private let accepted = Atomic<Int>(0)

    package var url: String { "redis://127.0.0.1:\(port)/0" }
    /// How many connections have been accepted so far.
    package var connections: Int { accepted.load(ordering: .sequentiallyConsistent) }

    /// Listens at once, unless `isListening` is false: then the port refuses connections until ``listen()``.
    package init(isListening: Bool = true, serve: @escaping @Sendable (Peer) -> Void) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe bind(listener, pointer, size) == 0 ? getsockname(listener, pointer, &size) : -1
            }
        }
        guard code == 0 else { throw POSIXError(.EADDRNOTAVAIL) }
        port = UInt16(bigEndian: address.sin_port)
        self.listener = listener
        self.serve = serve
        if isListening { listen() }
    }

    package func listen() {
        Glibc.listen(listener, 16)
        let (listener, serve) = (listener, serve)
        Thread.detachNewThread { [weak self] in
            while true {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else { break }
                let number = self?.accepted.add(1, ordering: .sequentiallyConsistent).newValue ?? 0
                Thread.detachNewThread {
                    serve(Peer(descriptor: descriptor, number: number))
                    close(descriptor)
                }
            }
            close(listener)
        }
    }

    deinit {
        // Ends the accepting thread, which closes the listener.
        shutdown(listener, Int32(SHUT_RDWR))
    }
}

/// The fake server's side of one connection.
package struct Peer: Sendable {
    package let descriptor: Int32
    /// Counts the connections from 1.
    package let number: Int

    /// Waits for bytes and returns them; empty when the client has closed the connection.
    package func read() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = unsafe Glibc.read(descriptor, &bytes, bytes.count)
        return Array(bytes.prefix(max(count, 0)))
    }

    package func write(_ text: String) {
        let bytes = Array(text.utf8)
        unsafe _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// Answers the log-in.
    package func acceptLogin() {
        _ = read()
        write("+OK\r\n")
    }

    /// Answers the log-in and a first `PING`.
    package func acceptPing() {
        acceptLogin()
        _ = read()
        write("+PONG\r\n")
    }

    /// Reads until the client has closed the connection.
    package func waitForClose() {
        while !read().isEmpty {}
    }
}
