import Testing

@testable import OrderCtl

@Suite("The time of an order")
struct OrderTimeTests {
    @Test(
        "is read with its zone, to the millisecond",
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("2026-01-31T09:05:00+09:00", 1_769_817_900_000),
            ("2026-01-31T00:05:00.25Z", 1_769_817_900_250), ("2026-01-31 00:05:00.250999999z", 1_769_817_900_250),
            ("2024-02-29t23:59:59-00:30", 1_709_252_999_000), ("2000-03-01T00:00:00+00:00", 951_868_800_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] as [(String, Int64)]
    )
    func reads(text: String, milliseconds: Int64) throws {
        #expect(try OrderTime.milliseconds(text.utf8) == milliseconds)
    }

    @Test(
        "is refused when it is none",
        arguments: [
            "", "2026", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z", "2026-01-01T00:00Z",
            "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00+0900",
            "2026-01-01T00:00:00+09:00 ", "1970-01-01T00:00:00+00:01", "20260-01-01T00:00:00Z", "2026-01-01T00:00:00ZZ",
            "+026-01-01T00:00:00Z", "1769817900",
        ]
    )
    func refuses(text: String) {
        #expect(throws: OrderTime.Fault.isNoTime) { try OrderTime.milliseconds(text.utf8) }
    }

    @Test("is refused without a zone, because nobody knows whose time it is")
    func needsZone() {
        #expect(throws: OrderTime.Fault.hasNoZone) { try OrderTime.milliseconds("2026-01-01T00:00:00".utf8) }
        #expect(throws: OrderTime.Fault.hasNoZone) { try OrderTime.milliseconds("2026-01-01 00:00:00.5".utf8) }
    }
}
