import Foundation
import OrderMessages
import SeededRandom
import Testing

@Suite("Page requests")
struct PageRequestTests {
    private func wrongs(limit: String? = nil, cursor: String? = nil, parts: Int = 1) -> [String] {
        do {
            _ = try PageRequest(limit: limit, cursor: cursor, parts: parts)
            return []
        } catch let failure as ValidationFailure {
            return failure.errors.map { "\($0.field): \($0.code)" }
        } catch {
            return ["unexpected \(error)"]
        }
    }

    @Test("without parameters it is the first page, of 20 or what the list says")
    func defaults() throws {
        let page = try PageRequest(limit: nil, cursor: nil, parts: 2)
        #expect(page.limit == 20 && page.after == nil)
        #expect(try PageRequest(limit: nil, cursor: nil, parts: 1, defaultLimit: 5).limit == 5)
    }

    @Test("a limit is a whole number from 1 to 100")
    func limits() throws {
        #expect(try PageRequest(limit: "1", cursor: nil, parts: 1).limit == 1)
        #expect(try PageRequest(limit: "100", cursor: nil, parts: 1).limit == 100)
        for limit in ["0", "101", "-1", "", " 5", "5 ", "1.0", "abc", "1e1", "٣", "99999999999999999999", "0x10", "\0"]
        {
            #expect(wrongs(limit: limit) == ["limit: out_of_range"], "\(limit)")
        }
    }

    @Test(
        "a cursor comes back as the position that it stands for",
        arguments: [
            ["1"], ["2026-01-31T09:05:00.250Z", "01990a2b-3c4d-7e5f-8abc-def012345678"], ["", ""],
            ["김치 /+\"\\ 😀", "-5"],
            ["~~~???>>>", "ÿÿÿ", String(repeating: "x", count: 1_000)],
        ]
    )
    func roundTrip(position: [String]) throws {
        let cursor = PageRequest.cursor(position)
        let free = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        #expect(!cursor.isEmpty && cursor.allSatisfy(free.contains))
        #expect(try PageRequest(limit: nil, cursor: cursor, parts: position.count).after == position)
        for parts in 1...4 where parts != position.count {
            #expect(wrongs(cursor: cursor, parts: parts) == ["cursor: invalid"])
        }
    }

    @Test("random positions come back")
    func randomRoundTrips() throws {
        var random = SplitMix64(seed: SplitMix64.seed)
        for _ in 0..<1_000 {
            let position = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                let scalars = (0..<Int.random(in: 0...8, using: &random)).compactMap { _ in
                    Unicode.Scalar(UInt32.random(in: 1...0x10FFFF, using: &random))
                }
                return String(String.UnicodeScalarView(scalars))
            }
            let page = try PageRequest(limit: nil, cursor: PageRequest.cursor(position), parts: position.count)
            try #require(page.after == position, "seed \(SplitMix64.seed)")
        }
    }

    @Test(
        "a cursor that is none of ours is refused",
        arguments: [
            "", "abc", "=", "====", "A", "%00", "\0", "\r\n", "김치", "bnVsbA", "W10", "WzFd", "W251bGxd", "e30",
            "IngiIA",
            // ["a\u0000"]: a NUL that no text column takes.
            "WyJhXHUwMDAwIl0",
            String(repeating: "W", count: 10_001),
        ]
    )
    func garbage(cursor: String) {
        #expect(wrongs(cursor: cursor) == ["cursor: invalid"])
    }

    @Test("random bytes are refused or read, never a crash")
    func randomGarbage() {
        var random = SplitMix64(seed: SplitMix64.seed)
        for _ in 0..<2_000 {
            let bytes = (0..<Int.random(in: 0...12, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            #expect(wrongs(cursor: Data(bytes).base64EncodedString(), parts: 2) == ["cursor: invalid"])
        }
        let nested = Data(String(repeating: "[", count: 10_000).utf8).base64EncodedString()
        #expect(wrongs(cursor: nested) == ["cursor: invalid"])
    }

    @Test("both parameters are told at once")
    func both() {
        #expect(wrongs(limit: "0", cursor: "x") == ["limit: out_of_range", "cursor: invalid"])
    }
}
