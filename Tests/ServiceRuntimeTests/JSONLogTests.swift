import Foundation
import Logging
import Synchronization
import Testing

@testable import ServiceRuntime

@Suite("JSON log")
struct JSONLogTests {
    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
    }

    private let lines = Lines()

    private func logger(_ level: Logger.Level = .info, provider: Logger.MetadataProvider? = nil) -> Logger {
        Logger(label: "test") { _ in
            var handler = JSONLogHandler(service: "order-api", level: level) { [lines] line in
                lines.all.withLock { $0.append(line) }
            }
            handler.metadataProvider = provider
            return handler
        }
    }

    private func onlyLine() throws -> (text: String, object: [String: Any]) {
        let all = lines.all.withLock { $0 }
        try #require(all.count == 1)
        let object = try JSONSerialization.jsonObject(with: Data(all[0].utf8))
        return (all[0], try #require(object as? [String: Any]))
    }

    @Test("a line has its members in order, and the time in UTC with milliseconds")
    func order() {
        let handler = JSONLogHandler(service: "order-api", level: .info) { _ in }
        let line = handler.line(
            at: Date(timeIntervalSince1970: 1_767_225_600.25),
            level: .info,
            message: "hello",
            members: ["b": "2", "a": "1"]
        )
        #expect(
            line == #"{"time":"2026-01-01T00:00:00.250Z","level":"info","service":"order-api","message":"hello","#
                + #""a":"1","b":"2"}"# + "\n"
        )
    }

    @Test("no text can break the line or the object")
    func escaping() throws {
        let nasty = "q\" b\\ n\n r\r t\t nul\u{0} esc\u{1B} del\u{7F} nel\u{85} ls\u{2028} 주문 🧾 </script>"
        logger().info("\(nasty)", metadata: ["k \"\n": "\(nasty)"])
        let (text, object) = try onlyLine()
        #expect(object["message"] as? String == nasty)
        #expect(object["k \"\n"] as? String == nasty)
        #expect(text.unicodeScalars.filter { $0.properties.generalCategory == .control }.count == 1)
        #expect(!text.contains("\u{2028}") && text.contains(#"\u2028"#))
        #expect(text.hasSuffix("}\n"))
    }

    @Test("metadata is flattened; numbers, booleans and arrays stay what they are")
    func metadata() throws {
        logger().info(
            "m",
            metadata: [
                "a": .dictionary(["b": "x", "c": .dictionary(["d": "y"])]),
                "n": .stringConvertible(42),
                "r": .stringConvertible(0.5),
                "f": .stringConvertible(true),
                "nan": .stringConvertible(Double.nan),
                "l": .array(["x", .stringConvertible(1), .dictionary(["k": "v"])]),
            ]
        )
        let (text, object) = try onlyLine()
        #expect(object["a.b"] as? String == "x")
        #expect(object["a.c.d"] as? String == "y")
        #expect(text.contains(#""n":42,"#))
        #expect(text.contains(#""r":0.5"#))
        #expect(text.contains(#""f":true"#))
        #expect(object["nan"] as? String == "nan")
        #expect(text.contains(#""l":["x",1,{"k":"v"}]"#))
    }

    @Test("metadata never hides the line's own members")
    func reservedKeys() throws {
        logger().info("real", metadata: ["message": "fake", "level": "fake"])
        let (_, object) = try onlyLine()
        #expect(object["message"] as? String == "real")
        #expect(object["metadata.message"] as? String == "fake")
        #expect(object["level"] as? String == "info")
    }

    @Test("the event's metadata wins over the logger's, and that over nothing")
    func precedence() throws {
        var logger = logger(provider: Logger.MetadataProvider { ["p": "provider", "e": "provider"] })
        logger[metadataKey: "h"] = "handler"
        logger[metadataKey: "e"] = "handler"
        logger.info("m", metadata: ["e": "event"])
        let (_, object) = try onlyLine()
        #expect(object["p"] as? String == "provider")
        #expect(object["h"] as? String == "handler")
        #expect(object["e"] as? String == "event")
    }

    @Test("what is below the level is not written")
    func level() {
        logger(.warning).info("quiet")
        #expect(lines.all.withLock { $0.isEmpty })
    }

    @Test("LOG_LEVEL is checked")
    func logLevel() {
        #expect(throws: SettingsError.self) {
            try ServiceProcess.bootstrapLogging(service: "t", settings: Settings(["LOG_LEVEL": "verbose"]))
        }
    }

    @Test("a line is written whole to the descriptor, also when it is long")
    func output() async throws {
        let result = try await #require(processExitsWith: .success, observing: [\.standardOutputContent]) {
            await withTaskGroup(of: Void.self) { group in
                for letter in ["a", "b", "c", "d"] {
                    group.addTask {
                        LineOutput.write(String(repeating: letter, count: 200_000) + "\n", to: 1)
                    }
                }
            }
        }
        let lines = result.standardOutputContent.split(separator: UInt8(ascii: "\n"))
        let whole = lines.filter { $0.count == 200_000 && Set($0).count == 1 }
        #expect(Set(whole.compactMap(\.first)).count == 4)
    }
}
