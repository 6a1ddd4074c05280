import FoundationEssentials
import OrderDomain
import SeededRandom
import Testing

@Suite("UUIDv7")
struct UUIDv7Tests {
    /// The clock's number in an id, with the counter below it.
    private static func tick(_ id: UUID) -> UInt64 {
        let bytes = id.uuid
        let time = [bytes.0, bytes.1, bytes.2, bytes.3, bytes.4, bytes.5].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return time << 12 | UInt64(bytes.6 & 0x0F) << 8 | UInt64(bytes.7)
    }

    @Test("version and variant stand where RFC 9562 wants them")
    func versionAndVariant() {
        for _ in 0..<1_000 {
            let bytes = UUID.version7().uuid
            #expect(bytes.6 >> 4 == 7 && bytes.8 >> 6 == 0b10)
        }
    }

    @Test("the first 48 bits are the time in milliseconds")
    func timePart() {
        let before = UInt64(Date().timeIntervalSince1970 * 1_000)
        let time = Self.tick(UUID.version7()) >> 12
        // Ids made by other tests at the same moment may have moved the clock on, 4,096 ids a millisecond.
        #expect(time >= before && time <= before + 5_000)
    }

    @Test("the last 62 bits differ from id to id")
    func randomPart() {
        let tails = (0..<1_000).map { _ in UUID.version7().uuidString.suffix(12) }
        #expect(Set(tails).count == tails.count)
    }

    @Test("100,000 ids from 8 tasks at once are all different, and rise strictly in each task")
    func risesAcrossTasks() async {
        let made = await withTaskGroup(of: [UUID].self) { group in
            for _ in 0..<8 {
                group.addTask { @concurrent in (0..<12_500).map { _ in UUID.version7() } }
            }
            return await group.reduce(into: [[UUID]]()) { $0.append($1) }
        }
        #expect(Set(made.joined()).count == 100_000)
        // The clock and the counter alone are different already: no id relies on its random part to be unique.
        #expect(Set(made.joined().map(Self.tick)).count == 100_000)
        for ids in made {
            #expect(zip(ids, ids.dropFirst()).allSatisfy { $0.uuidString < $1.uuidString })
        }
    }

    @Test("a clock that goes back or stands still does not stop the ids from rising")
    func clockGoesBack() {
        let now = Date()
        var times = [now, now - 3_600, now - 86_400 * 365, Date(timeIntervalSince1970: 0), now]
        times += Array(repeating: now - 1, count: 10_000)
        let ids = times.map { UUID.version7(at: $0) }
        #expect(zip(ids, ids.dropFirst()).allSatisfy { $0.uuidString < $1.uuidString })
    }

    @Test("a time before 1970 is taken for 1970")
    func beforeEpoch() {
        let first = UUID.version7()
        #expect(first.uuidString < UUID.version7(at: Date(timeIntervalSince1970: -1)).uuidString)
    }

    @Test("an order's id is written in lower case")
    func orderIDText() throws {
        let uuid = try #require(UUID(uuidString: "01990A2B-3C4D-7E5F-8ABC-DEF012345678"))
        #expect(OrderID(uuid).text == "01990a2b-3c4d-7e5f-8abc-def012345678")
    }

    @Test("a time is cut to the millisecond that it lies in, and cut again stays the same")
    func wholeMilliseconds() throws {
        var random = SplitMix64(seed: SplitMix64.seed)
        for _ in 0..<20_000 {
            // 1970 to 2099, in microseconds.
            let microseconds = Int64(random.next() % 4_102_000_000_000_000)
            let cut = Date(timeIntervalSince1970: Double(microseconds) / 1_000_000).wholeMilliseconds
            let expected = Date(timeIntervalSince1970: Double(microseconds / 1_000) / 1_000)
            try #require(
                cut == expected && cut.wholeMilliseconds == cut,
                "\(microseconds) µs, seed \(SplitMix64.seed)"
            )
        }
    }
}
