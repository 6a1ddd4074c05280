import Foundation
import Postgres
import Synchronization
import TestSupport
import Testing

extension SQLStatement {
    fileprivate static let isEncrypted = SQLStatement(
        "is_encrypted",
        "SELECT ssl AS value FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    )
}

/// The servers that `make test` starts are given a certificate while they run, and speak plainly again afterwards.
@Suite("TLS to the servers", .serialized, .timeLimit(.minutes(3)))
struct TLSTests {
    @Test("PostgreSQL with verify-full: the right authority and name connect, others are refused")
    func postgres() async throws {
        try await withCertificates { certificates in
            try await withPostgresTLS(certificates) { url in
                let pool = try pool(url, authority: certificates.authority)
                try await pool.withConnection(deadline: soon) { connection in
                    let rows = try await connection.query(.isEncrypted, deadline: soon)
                    #expect(try rows.first?.get("value", as: Bool.self) == true)
                }
                await pool.close()

                let wrongAuthority = await refusal { try await connect(url, authority: certificates.stranger) }
                #expect(wrongAuthority.contains("certificate verify failed"), "\(wrongAuthority)")
                let other = url.replacingOccurrences(of: "@localhost:", with: "@127.0.0.1:")
                let wrongName = await refusal { try await connect(other, authority: certificates.authority) }
                #expect(wrongName.contains("does not match host name"), "\(wrongName)")
                let noFile = await refusal { try await connect(url, authority: "/nowhere.pem") }
                #expect(noFile.contains("/nowhere.pem"), "\(noFile)")
            }
        }
    }

    @Test("A PostgreSQL without TLS gets nothing but the question for it")
    func postgresWithoutTLS() async throws {
        let heard = Mutex<[UInt8]>([])
        let server = try FakeServer { peer in
            let question = peer.read()
            heard.withLock { $0 += question }
            peer.write("N")
            let rest = peer.read()
            heard.withLock { $0 += rest }
        }
        let url = "postgres://jumun:secret@127.0.0.1:\(server.port)/jumun"
        let reason = await refusal { try await connect(url, authority: "/etc/ssl/certs/ca-certificates.crt") }
        #expect(reason.contains("does not support SSL"), "\(reason)")
        #expect(heard.withLock { $0 }.count == 8, "more than the question was sent")
    }

    @Test("RabbitMQ: the right authority and name connect and carry messages, others are refused")
    func rabbitMQ() async throws {
        try await withCertificates { certificates in
            try await withRabbitMQTLS(certificates) { login, port in
                let url = "amqps://\(login)@localhost:\(port)/jumun?cacertfile="
                try await carryMessages(url + certificates.authority)

                let wrongAuthority = await refusal { try await connect(broker: url + certificates.stranger) }
                #expect(wrongAuthority.lowercased().contains("ssl"), "\(wrongAuthority)")
                let other = url.replacingOccurrences(of: "@localhost:", with: "@127.0.0.1:")
                let wrongName = await refusal { try await connect(broker: other + certificates.authority) }
                #expect(wrongName.lowercased().contains("hostname"), "\(wrongName)")
                let noFile = await refusal { try await connect(broker: url + "/nowhere.pem") }
                #expect(noFile.contains("/nowhere.pem cannot be read"), "\(noFile)")
            }
        }
    }

    @Test("Redis: the right authority and name connect, others are refused")
    func redis() async throws {
        try await withCertificates { certificates in
            try await withRedisTLS(certificates) { password, port in
                let url = "rediss://:\(password)@localhost:\(port)/7?cacertfile="
                try await carryValues(url + certificates.authority)
                let wrongAuthority = await refusal { try await ping(url + certificates.stranger) }
                #expect(wrongAuthority.contains("certificate is refused: "), "\(wrongAuthority)")
                let other = url.replacingOccurrences(of: "@localhost:", with: "@127.0.0.1:")
                let wrongName = await refusal { try await ping(other + certificates.authority) }
                #expect(wrongName.contains("certificate is refused: IP address mismatch"), "\(wrongName)")
                let noFile = await refusal { try await ping(url + "/nowhere.pem") }
                #expect(noFile.contains("/nowhere.pem cannot be read"), "\(noFile)")
                let plain = await refusal { try await ping("redis://:\(password)@localhost:\(port)/7") }
                #expect(!plain.isEmpty)
            }
        }
    }

    @Test("Who cannot prove to be the server hears no password; who can does", arguments: ["rediss", "amqps"])
    func unprovenServerHearsNothing(scheme: String) async throws {
        try await withCertificates { certificates in
            let listener = try await Listener(certificates)
            defer { listener.stop() }
            let url = "\(scheme)://jumun:open-sesame@localhost:\(listener.port)/0?cacertfile="
            func knock(_ url: String) async throws {
                scheme == "rediss" ? try await ping(url) : try await connect(broker: url)
            }
            _ = await refusal { try await knock(url + certificates.stranger) }
            let other = url.replacingOccurrences(of: "@localhost:", with: "@127.0.0.1:")
            _ = await refusal { try await knock(other + certificates.authority) }
            #expect(listener.heard.isEmpty, "it was told \(listener.heard.count) bytes")

            // The same listener, once it is trusted, hears what is said first.
            _ = await refusal { try await knock(url + certificates.authority) }
            #expect(listener.hasHeard(scheme == "rediss" ? "open-sesame" : "AMQP"))
        }
    }
}
