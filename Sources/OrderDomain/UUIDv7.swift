package import FoundationEssentials
import Synchronization

extension UUID {
    /// Makes UUIDs of version 7 (RFC 9562, section 5.7) that rise strictly within this process.
    ///
    /// The 12 bits after the millisecond are a counter (section 6.2, method 1), so that ids of one millisecond keep the
    /// order in which they were made; when it runs full, or the clock goes back, the millisecond is moved on instead.
    private static let lastTick = Mutex<UInt64>(0)

    /// A new UUID, version 7; safe from any thread.
    ///
    /// - Parameter now: the time to put into it.
    package static func version7(at now: Date = Date()) -> UUID {
        let milliseconds = UInt64(max(0, now.timeIntervalSince1970 * 1_000))
        // 48 bits of milliseconds and 12 of counter make one number that only ever rises.
        let tick = lastTick.withLock { last in
            last = max(last + 1, milliseconds << 12)
            return last
        }
        let (time, counter) = (tick >> 12, tick & 0xFFF)
        let random = UInt64.random(in: 0...UInt64.max)
        let high = time << 16 | 0x7000 | counter
        let low = random & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        return UUID(high: high, low: low)
    }

    private init(high: UInt64, low: UInt64) {
        func byte(_ word: UInt64, _ index: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: word >> (56 - 8 * index)) }
        self.init(
            uuid: (
                byte(high, 0), byte(high, 1), byte(high, 2), byte(high, 3), byte(high, 4), byte(high, 5),
                byte(high, 6), byte(high, 7), byte(low, 0), byte(low, 1), byte(low, 2), byte(low, 3),
                byte(low, 4), byte(low, 5), byte(low, 6), byte(low, 7)
            )
        )
    }
}

extension Date {
    /// This time without what is finer than a millisecond: every time that Jumun keeps is one that it can show.
    package var wholeMilliseconds: Date {
        // Whole microseconds first: from 2038 on, a millisecond's nearest `Double` may lie a hair below it.
        let microseconds = (timeIntervalSince1970 * 1_000_000).rounded()
        return Date(timeIntervalSince1970: (microseconds / 1_000).rounded(.down) / 1_000)
    }
}
