import Foundation
import Testing

/// Rules of this project that no compiler knows.
@Suite("Tidy")
struct TidyTests {
    /// A source file of ours.
    struct Source: Sendable, CustomTestStringConvertible {
        let path: String
        let lines: [String]

        var testDescription: String { path }
    }

    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static let sources: [Source] = {
        let files = FileManager.default.enumerator(atPath: root.path + "/Sources")?.compactMap { $0 as? String } ?? []
        return files.filter { $0.hasSuffix(".swift") }.sorted().map { path in
            let text = (try? String(contentsOfFile: "\(root.path)/Sources/\(path)", encoding: .utf8)) ?? ""
            return Source(path: path, lines: text.components(separatedBy: "\n"))
        }
    }()

    /// Who may import which of ours, beside those that Package.swift forbids anyway.
    private static let cLibraries = [
        "CLibPQ": ["Postgres/"], "CRabbitMQ": ["AMQP/"], "CHiredis": ["Redis/"],
        // Also by what starts every process, for OpenSSL's first call.
        "COpenSSL": ["Redis/", "ServiceRuntime/"],
    ]

    @Test("there are sources to look at")
    func findsSources() {
        #expect(Self.sources.count > 50)
    }

    @Test("a C library is imported by its client alone")
    func cLibrariesStayInside() {
        for source in Self.sources {
            for (library, folders) in Self.cLibraries where !folders.contains(where: source.path.hasPrefix) {
                #expect(
                    !source.lines.contains { $0.hasSuffix("import \(library)") },
                    "\(source.path) imports \(library)"
                )
            }
        }
    }

    @Test("nothing is public: what crosses a target is package")
    func nothingIsPublic() {
        each { line in line.hasPrefix("public ") || line.contains(" public ") && !line.contains("//") }
    }

    @Test("data never traps: no fatalError, no forced try, nothing left to do")
    func nothingTraps() {
        each { line in
            ["fatalError(", "try!", "as!", "TODO", "FIXME", "XXX"].contains { line.contains($0) }
        }
    }

    @Test("an unchecked claim about threads gives its proof on the lines above")
    func uncheckedIsProved() {
        for source in Self.sources {
            for (index, line) in source.lines.enumerated()
            where line.contains("@unchecked Sendable") || line.contains("nonisolated(unsafe)") {
                let above = source.lines[max(0, index - 12)..<index]
                #expect(above.contains { $0.contains("Safety:") }, "\(source.path):\(index + 1)")
            }
        }
    }

    @Test("what crosses a target is documented")
    func packageIsDocumented() {
        let pattern =
            #/^\s*package (static |nonisolated |mutating |final )*(func|init|struct|enum|actor|class|protocol) /#
        for source in Self.sources {
            for (index, line) in source.lines.enumerated() where line.contains(pattern) {
                if line.contains("func encode(to") || line.contains("init(from") || line.contains("static func <") {
                    continue
                }
                let above = source.lines[..<index].last { !$0.contains(#/^\s*@/#) } ?? ""
                // What a conformance asks for is documented where the protocol is.
                let isConformance = above.contains(#/extension .*: /#)
                #expect(above.contains("///") || isConformance, "\(source.path):\(index + 1) \(line)")
            }
        }
    }

    @Test("no line is longer than 120 columns")
    func staysShort() {
        for source in Self.sources {
            for (index, line) in source.lines.enumerated() {
                #expect(line.count <= 120, "\(source.path):\(index + 1)")
            }
        }
    }

    @Test("every feature that Package.swift switches on is one that the compiler knows")
    func featuresExist() throws {
        let manifest = try String(contentsOfFile: Self.root.path + "/Package.swift", encoding: .utf8)
        let features = manifest.matches(of: /enableUpcomingFeature\("(\w+)"\)/).map { String($0.output.1) }
        #expect(features.count == 6)
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["swiftc", "-print-supported-features"]
        process.standardOutput = output
        try process.run()
        let known = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        for feature in features {
            #expect(known.contains("\"\(feature)\""), "the compiler does not know \(feature)")
        }
    }

    private func each(_ isWrong: (String) -> Bool, location: SourceLocation = #_sourceLocation) {
        for source in Self.sources {
            for (index, line) in source.lines.enumerated() where isWrong(line) {
                Issue.record("\(source.path):\(index + 1) \(line)", sourceLocation: location)
            }
        }
    }
}
