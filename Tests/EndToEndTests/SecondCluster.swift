import Foundation
import TestSupport

/// Another PostgreSQL cluster, whose transaction ids begin anew.
struct SecondCluster: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let process: Process
    private let input: Pipe
    private let database: URLComponents

    /// Starts it beside the tests' servers; it lives until ``stop()``, or our end.
    static func start() async throws -> SecondCluster {
        let withServers = try TestEnvironment.required("JUMUN_TEST_SERVER_CONTROL")
            .replacingOccurrences(of: "server-control", with: "with-servers")
        let (process, input, output) = (Process(), Pipe(), Pipe())
        process.executableURL = URL(filePath: withServers)
        // Says where it is, and then waits for the end of its input.
        process.arguments = [
            "sh", "-c", "echo \"address $JUMUN_TEST_ADMIN_DATABASE_URL $JUMUN_TEST_ROLE_PASSWORD\"; cat",
        ]
        process.environment = TestEnvironment.inherited.merging(["JUMUN_TEST_SERVERS": "postgres"]) { $1 }
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        var said = ""
        while !said.contains(#/address .*\n/#) {
            let data = output.fileHandleForReading.availableData
            if data.isEmpty { throw Failure(description: "the second cluster did not start: \(said)") }
            said += String(decoding: data, as: UTF8.self)
        }
        let words = said.split(separator: "\n").last?.split(separator: " ") ?? []
        guard words.count == 3, var database = URLComponents(string: String(words[1])) else {
            throw Failure(description: "no address of a second cluster: \(said)")
        }
        database.fragment = String(words[2])
        return SecondCluster(process: process, input: input, database: database)
    }

    func stop() {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    /// The URL of the restored database for one of the roles of `sql/roles.sql`.
    func url(as role: String) -> String {
        var url = database
        (url.user, url.password, url.fragment) = (role, database.fragment, nil)
        url.path = "/jumun"
        return url.string ?? ""
    }

    /// Copies a database by pg_dump.
    func restore(_ source: String) async throws {
        var target = database
        (target.path, target.fragment) = ("/jumun", nil)
        let copy = Process()
        copy.executableURL = URL(filePath: "/bin/bash")
        copy.arguments = [
            "-c", "set -o pipefail; pg_dump \"$0\" | psql -qX -v ON_ERROR_STOP=1 -o /dev/null \"$1\"", source,
            target.string ?? "",
        ]
        try copy.run()
        copy.waitUntilExit()
        guard copy.terminationStatus == 0 else { throw Failure(description: "pg_dump or psql failed") }
    }
}
