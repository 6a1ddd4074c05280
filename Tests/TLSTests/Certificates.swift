import Foundation
import Glibc

/// Two authorities, and a server's certificate for `localhost`, not for 127.0.0.1, that the first has signed; by openssl.
struct Certificates: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let folder: URL

    /// Whom clients are to trust.
    var authority: String { path("authority.pem") }
    /// An authority that has signed nothing of the server's.
    var stranger: String { path("stranger.pem") }
    var server: String { path("server.pem") }
    var key: String { path("server.key") }

    /// Makes them in a folder of their own; ``remove()`` removes it.
    ///
    /// The key is readable for everybody: the servers run as users of their own. It lives for one test.
    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "jumun-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let commands = """
            cd "$0"
            for name in authority stranger; do
                openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=$name" \\
                    -keyout "$name.key" -out "$name.pem"
            done
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \\
                -keyout server.key -out server.csr
            echo 'subjectAltName=DNS:localhost' > extensions
            openssl x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 1 \\
                -extfile extensions -out server.pem
            cp server.key postgres.key
            chmod 755 . && chmod 644 *.pem server.key && chmod 600 postgres.key
            """
        let status = try Certificates.run("/bin/bash", ["-ec", commands, path("")])
        guard status == 0 else { throw Failure(description: "openssl could not make the certificates") }
    }

    func remove() throws {
        try FileManager.default.removeItem(at: folder)
    }

    /// The key as PostgreSQL takes it: its own user's alone.
    func key(forOwnerOf folder: String) throws -> String {
        var state = stat()
        let key = path("postgres.key")
        guard unsafe stat(folder, &state) == 0, unsafe chown(key, state.st_uid, state.st_gid) == 0 else {
            throw Failure(description: "the key cannot be given to PostgreSQL's user: errno \(errno)")
        }
        return key
    }

    private func path(_ name: String) -> String {
        folder.appending(path: name).path(percentEncoded: false)
    }

    /// Runs a program to its end, without its output, and gives its exit code.
    static func run(_ program: String, _ arguments: [String]) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }
}

/// A server that speaks TLS with a certificate of ours, and keeps what it was told; it never answers.
final class Listener: Sendable {
    private let process = Process()
    private let log: URL
    let port: UInt16

    init(_ certificates: Certificates) async throws {
        port = try FreePort.find()
        log = certificates.folder.appending(path: "heard-\(port)")
        try Data().write(to: log)
        let output = try FileHandle(forWritingTo: log)
        process.executableURL = URL(filePath: "/usr/bin/openssl")
        process.arguments = [
            "s_server", "-quiet", "-accept", "127.0.0.1:\(port)", "-cert", certificates.server, "-key",
            certificates.key,
        ]
        process.standardInput = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        try output.close()
        try await eventually("openssl listens") { FreePort.isOpen(port) }
    }

    /// What clients said, decrypted.
    var heard: [UInt8] { (try? [UInt8](Data(contentsOf: log))) ?? [] }

    /// Whether the text was among it.
    func hasHeard(_ text: String) -> Bool { heard.firstRange(of: Array(text.utf8)) != nil }

    /// SIGKILL: a child inherits the blocked SIGTERM of the thread that started it.
    func stop() {
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }
}

enum FreePort {
    static func find() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var (address, length) = (loopback(0), socklen_t(MemoryLayout<sockaddr_in>.size))
        let code = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe bind(descriptor, pointer, length) | getsockname(descriptor, pointer, &length)
            }
        }
        guard code == 0 else { throw Certificates.Failure(description: "no free port: errno \(errno)") }
        return UInt16(bigEndian: address.sin_port)
    }

    static func isOpen(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = loopback(port)
        return unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        return address
    }
}

/// Waits until the condition holds; throws when it does not within 20 s.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw Certificates.Failure(description: "not in time: \(what)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}
