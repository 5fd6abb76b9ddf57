using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

public class UuidTests : DriverTest
{
    [Theory, MemberData(nameof(EverySchedule))]
    public void Uuids_are_of_version_1_and_never_the_same(Scheduling scheduling) => Run(scheduling, () =>
    {
        HashSet<Guid> made = [];
        for (int i = 0; i < 100; i++)
        {
            Assert.Equal(STATUS_SUCCESS, ExUuidCreate(out Guid uuid));
            Assert.True(made.Add(uuid));
            Assert.Equal((1, 8), (uuid.Version, uuid.Variant & 0xC));
        }
    });

    [Fact]
    public void A_controlled_run_makes_the_same_ones_again()
    {
        static Guid First()
        {
            using var test = new UuidTests();
            Guid uuid = default;
            test.Run(Scheduling.Controlled, () => test.ExUuidCreate(out uuid));
            return uuid;
        }

        Assert.Equal(First(), First());
    }
}
