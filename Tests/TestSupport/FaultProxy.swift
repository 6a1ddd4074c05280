import Glibc
import Synchronization

/// A TCP proxy on the loopback interface that can break connections on demand.
///
/// It knows no protocol: a test names the bytes at which a connection is to break. Two threads serve each connection,
/// one for each direction, so that neither direction can block the other.
package final class FaultProxy: Sendable {
    package enum Direction: Sendable, Hashable {
        case toServer, toClient
    }

    /// What happens to the piece of data that completes a marker.
    package enum Cut: Sendable, Hashable {
        /// The connection ends, and the piece is lost.
        case beforeForwarding
        /// The piece is passed on, and then the connection ends.
        case afterForwarding
    }

    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private struct Rule {
        let marker: [UInt8]
        let direction: Direction
        let cut: Cut
    }

    private struct State {
        var rule: Rule?
        var isPaused = false
        var isStopped = false
        var links: [ObjectIdentifier: Link] = [:]
        var cuts = 0
        var accepted = 0
    }

    /// The two sockets of one connection, closed with the last reference.
    private final class Link: Sendable {
        let client: Int32
        let server: Int32

        init(client: Int32, server: Int32) {
            self.client = client
            self.server = server
        }

        deinit {
            close(client)
            close(server)
        }

        func cut() {
            shutdown(client, Int32(SHUT_RDWR))
            shutdown(server, Int32(SHUT_RDWR))
        }
    }

    /// How soon the threads notice ``stop()`` and ``pause()``.
    private static let pollMilliseconds: Int32 = 10

    /// The port to connect to, on 127.0.0.1.
    package let port: UInt16
    private let listener: Int32
    private let target: (host: String, port: UInt16)
    private let state = Mutex(State())

    /// Listens on a free port and passes everything on to a numeric IPv4 address.
    package init(host: String, port: UInt16) throws {
        target = (host, port)
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.listener = listener
        var address = try Self.address("127.0.0.1", 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe bind(listener, pointer, length) | listen(listener, 128) | getsockname(listener, pointer, &length)
            }
        }
        self.port = UInt16(bigEndian: address.sin_port)
        guard listener >= 0, code == 0 else { throw Failure(description: "the proxy cannot listen: errno \(errno)") }
        Self.startThread { self.acceptConnections() }
    }

    /// Cuts the next connection on which the marker passes in the direction, once.
    package func cutNext(_ marker: [UInt8], _ direction: Direction, _ cut: Cut) {
        precondition(!marker.isEmpty, "a marker has bytes")
        state.withLock { $0.rule = Rule(marker: marker, direction: direction, cut: cut) }
    }

    /// How many connections a marker has cut.
    package var cuts: Int { state.withLock { $0.cuts } }

    /// How many connections have been accepted.
    package var accepted: Int { state.withLock { $0.accepted } }

    /// Passes nothing on until ``resume()``; connections stay open, as with a stopped server behind a live kernel.
    package func pause() { state.withLock { $0.isPaused = true } }

    /// Passes on what was held back.
    package func resume() { state.withLock { $0.isPaused = false } }

    /// Cuts every connection; new ones are accepted.
    package func cutAll() {
        for link in state.withLock({ Array($0.links.values) }) { link.cut() }
    }

    /// Cuts every connection and stops listening.
    package func stop() {
        state.withLock { $0.isStopped = true }
        cutAll()
    }

    private static func address(_ host: String, _ port: UInt16) throws -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        guard unsafe inet_pton(AF_INET, host, &address.sin_addr) == 1 else {
            throw Failure(description: "\(host) is not a numeric IPv4 address")
        }
        return address
    }

    private func acceptConnections() {
        while !state.withLock({ $0.isStopped }) {
            guard Self.isReadable(listener) else { continue }
            let client = accept(listener, nil, nil)
            guard client >= 0 else { continue }
            guard let server = connectToTarget() else {
                close(client)
                continue
            }
            let link = Link(client: client, server: server)
            let isStopped = state.withLock { state in
                state.links[ObjectIdentifier(link)] = link
                state.accepted += 1
                return state.isStopped
            }
            if isStopped { link.cut() }
            Self.startThread { self.pump(link, .toServer) }
            Self.startThread { self.pump(link, .toClient) }
        }
        close(listener)
    }

    private func connectToTarget() -> Int32? {
        guard var address = try? Self.address(target.host, target.port) else { return nil }
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let code = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe connect(server, pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if code == 0 { return server }
        close(server)
        return nil
    }

    /// Passes on one direction until either side ends, then cuts both.
    private func pump(_ link: Link, _ direction: Direction) {
        let (source, sink) = direction == .toServer ? (link.client, link.server) : (link.server, link.client)
        var buffer = [UInt8](repeating: 0, count: 65_536)
        // What has passed already and might be the start of a marker.
        var tail: [UInt8] = []
        while !state.withLock({ $0.isStopped }) {
            guard Self.isReadable(source), waitWhilePaused() else { continue }
            let count = unsafe recv(source, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            let cut = takeCut(tail, buffer[..<count], direction)
            if cut == .beforeForwarding { break }
            guard Self.sendAll(buffer[..<count], to: sink) else { break }
            if cut == .afterForwarding { break }
            tail = Array((tail + buffer[..<count]).suffix(256))
        }
        link.cut()
        state.withLock { _ = $0.links.removeValue(forKey: ObjectIdentifier(link)) }
    }

    /// Sleeps through a pause; true when none is going on.
    private func waitWhilePaused() -> Bool {
        guard state.withLock({ $0.isPaused }) else { return true }
        _ = poll(nil, 0, Self.pollMilliseconds)
        return false
    }

    private func takeCut(_ tail: [UInt8], _ piece: ArraySlice<UInt8>, _ direction: Direction) -> Cut? {
        state.withLock { state in
            guard let rule = state.rule, rule.direction == direction else { return nil }
            // A marker that had passed as a whole before the rule was made is none of it.
            let data = tail.suffix(rule.marker.count - 1) + piece
            guard Self.contains(Array(data), rule.marker) else { return nil }
            state.rule = nil
            state.cuts += 1
            return rule.cut
        }
    }

    private static func contains(_ data: [UInt8], _ marker: [UInt8]) -> Bool {
        guard data.count >= marker.count else { return false }
        return (0...(data.count - marker.count)).contains { data[$0...].starts(with: marker) }
    }

    private static func isReadable(_ descriptor: Int32) -> Bool {
        var descriptor = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&descriptor, 1, pollMilliseconds) > 0
    }

    private static func sendAll(_ data: ArraySlice<UInt8>, to descriptor: Int32) -> Bool {
        unsafe data.withUnsafeBytes { bytes in
            var sent = 0
            while sent < bytes.count {
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[sent...])
                let count = unsafe send(descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
                guard count > 0 else { return false }
                sent += count
            }
            return true
        }
    }

    private final class ThreadBody: Sendable {
        let run: @Sendable () -> Void

        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private static func startThread(_ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(ThreadBody(body)).toOpaque()
        let code = unsafe pthread_create(
            &thread,
            nil,
            { context in
                if let context = unsafe context {
                    unsafe Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
                }
                return nil
            },
            context
        )
        precondition(code == 0, "out of threads")
        pthread_detach(thread)
    }
}
