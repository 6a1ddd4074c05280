import Foundation
import Glibc

/// A TCP connection on which a test sends any bytes at any time. Nothing of it blocks.
final class RawConnection {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let descriptor: Int32
    /// All that has come so far.
    private(set) var received: [UInt8] = []
    /// Whether the server has closed the connection, or broken it off.
    private(set) var isClosed = false

    /// Connects to the host and port of `web`, a numeric address.
    init(_ web: Web) throws {
        let url = URLComponents(string: web.base)
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = (url?.port.flatMap { UInt16(exactly: $0) } ?? 0).bigEndian
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        let code = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        let error = errno
        guard code == 0 else {
            close(descriptor)
            throw Failure(description: "cannot connect to \(web.base): errno \(error)")
        }
    }

    deinit { close(descriptor) }

    /// Sends what fits into the socket's buffer, which is all that a test sends; false when the server has closed.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        unsafe Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            == bytes.count
    }

    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    /// The server reads an end after what was sent; answers still come.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Takes what has come.
    func receive() {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while !isClosed {
            let count = unsafe recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 {
                received += buffer.prefix(count)
            } else if count < 0, errno == EAGAIN || errno == EINTR {
                return
            } else {
                isClosed = true
            }
        }
    }

    /// Takes what comes until the condition holds; says whether it did in time.
    func wait(within time: Duration, until isDone: (RawConnection) -> Bool = \.isClosed) async throws -> Bool {
        let deadline = ContinuousClock.now + time
        while true {
            receive()
            if isDone(self) { return true }
            if ContinuousClock.now >= deadline { return false }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    var text: String { String(decoding: received, as: UTF8.self) }

    /// The statuses of all answers, `100 Continue` included.
    var statuses: [Int] {
        text.matches(of: /HTTP\/1\.1 (\d{3})\s/).compactMap { Int($0.output.1) }
    }

    /// What stands behind the last head.
    var body: String { text.components(separatedBy: "\r\n\r\n").last ?? "" }
}
