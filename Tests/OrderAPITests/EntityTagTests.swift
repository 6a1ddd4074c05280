import Testing

@testable import OrderAPI

@Suite("Entity tags, as RFC 9110 has them")
struct EntityTagTests {
    @Test(
        "a list is read, weak and strong, with commas inside of tags and empty elements between them",
        arguments: [
            (#""1""#, [EntityTag("1")]),
            (#"W/"1""#, [EntityTag("1", isWeak: true)]),
            (#""1", W/"2","3""#, [EntityTag("1"), EntityTag("2", isWeak: true), EntityTag("3")]),
            (" \"1\"\t,\t\"2\" ", [EntityTag("1"), EntityTag("2")]),
            (#","1",, "2","#, [EntityTag("1"), EntityTag("2")]),
            (#""a,b", "c d""#, nil),
            (#""a,b""#, [EntityTag("a,b")]),
            (#""""#, [EntityTag("")]),
            (#""!#$~""#, [EntityTag("!#$~")]),
            (#""é""#, [EntityTag("é")]),
            (#""W/""#, [EntityTag("W/")]),
        ] as [(String, [EntityTag]?)]
    )
    func reads(field: String, tags: [EntityTag]?) {
        #expect(EntityTagList(field) == tags.map(EntityTagList.tags))
    }

    @Test(
        "what is none is not taken for one",
        arguments: [
            "", " ", ",", ", ,", "1", "\"1", "1\"", "\"1\" \"2\"", "\"1\"2", "w/\"1\"", "W/1", "W /\"1\"", "W/ \"1\"",
            "'1'", "*,\"1\"", "\"1\", *", "**", " *", "\"a b\"", "\"a\u{0}b\"", "\"a\u{7F}\"", "\"a\tb\"",
            "\"1\";\"2\"",
        ]
    )
    func refuses(field: String) {
        #expect(EntityTagList(field) == nil)
    }

    @Test("If-Match compares strongly, If-None-Match weakly, and * is whatever there is")
    func compares() throws {
        let (strong, weak) = (EntityTag("1"), EntityTag("1", isWeak: true))
        let lists = try ["*", #""1""#, #"W/"1""#, #""2""#, #"W/"1", "2", "1""#].map { try #require(EntityTagList($0)) }
        #expect(lists.map { $0.matchesStrongly(strong) } == [true, true, false, false, true])
        #expect(lists.map { $0.matchesStrongly(weak) } == [true, false, false, false, false])
        #expect(lists.map { $0.matchesWeakly(strong) } == [true, true, true, false, true])
        #expect(lists.map { $0.matchesWeakly(weak) } == [true, true, true, false, true])
    }

    @Test("a tag is written as it is read")
    func writes() {
        for tag in [EntityTag(version: 17), EntityTag("a,b", isWeak: true), EntityTag("")] {
            #expect(EntityTagList(tag.field) == .tags([tag]))
        }
        #expect(EntityTag(version: 17).field == "\"17\"")
        #expect(EntityTag("17", isWeak: true).field == "W/\"17\"")
    }

    @Test("a condition allows the versions that it names: strong, in their only spelling")
    func preconditions() throws {
        func ifMatch(_ field: String) throws -> Precondition { .ifMatch(try #require(EntityTagList(field))) }
        #expect(Precondition.none.versions == nil && Precondition.none.allows(version: 3))
        #expect(try ifMatch("*").versions == nil && ifMatch("*").allows(version: 3))
        #expect(Precondition.never.versions == [] && !Precondition.never.allows(version: 3))
        #expect(try ifMatch(#""3", "5""#).versions == [3, 5])
        // A weak tag never matches; neither does another spelling of the number, nor what is no number.
        #expect(try ifMatch(#"W/"3", "03", "+3", "x", "9223372036854775808""#).versions == [])
        #expect(try ifMatch(#"W/"3", "03", "+3""#).allows(version: 3) == false)
    }
}
