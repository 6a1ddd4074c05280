import Testing

@testable import Operations
@testable import OrderCtl

@Suite("The rate of a redrive")
struct TokenBucketTests {
    @Test(
        "the rate is held within 10 %, whatever a batch takes as long as it is less than its share",
        arguments: [1, 7, 50, 500, 20_000]
    )
    func holdsTheRate(perSecond: Int) {
        var bucket = TokenBucket(perSecond: perSecond)
        let start = ContinuousClock.now
        var now = start
        var sent = 0
        while sent < perSecond * 20 {
            now += bucket.take(bucket.batch, at: now)
            sent += bucket.batch
            // Sending takes a while too, half of what the rate leaves for it.
            now += .seconds(1) * (Double(bucket.batch) / Double(perSecond) / 2)
        }
        let rate = Double(sent) / ((now - start) / .seconds(1))
        #expect(abs(rate / Double(perSecond) - 1) < 0.1, "\(rate)")
    }

    @Test("a pause is not made up for by a burst")
    func noBurst() {
        var bucket = TokenBucket(perSecond: 100)
        var now = ContinuousClock.now
        now += bucket.take(10, at: now)
        now += .seconds(60)
        let resumed = now
        for _ in 0..<10 { now += bucket.take(10, at: now) }
        #expect(now - resumed > .milliseconds(750), "\(now - resumed)")
    }
}
