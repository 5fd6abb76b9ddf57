using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class BugCheckCallbackTests : SynchronizationTest
{
    PKBUGCHECK_CALLBACK_RECORD Record()
    {
        var record = new PKBUGCHECK_CALLBACK_RECORD(Memory(KBUGCHECK_CALLBACK_RECORD.SizeOf).Address);
        KeInitializeCallbackRecord(record);
        return record;
    }

    PKBUGCHECK_REASON_CALLBACK_RECORD ReasonRecord()
    {
        var record = new PKBUGCHECK_REASON_CALLBACK_RECORD(Memory(KBUGCHECK_REASON_CALLBACK_RECORD.SizeOf).Address);
        KeInitializeCallbackRecord(record);
        return record;
    }

    [Fact]
    public void Routines_run_at_HIGH_LEVEL_when_the_machine_stops()
    {
        PKBUGCHECK_CALLBACK_RECORD finished = default;
        BugCheckReport report = Stops(MANUALLY_INITIATED_CRASH, () =>
        {
            finished = Record();
            KeRegisterBugCheckCallback(finished, (buffer, length) =>
            {
                Assert.Equal(BufferStarted, finished.State);
                Step($"{buffer.Address} {length} at {KeGetCurrentIrql()}");
            }, new PVOID(0x77), 8, default);
            PKBUGCHECK_CALLBACK_RECORD taken = Record();
            KeRegisterBugCheckCallback(taken, (_, _) => Step("never"), default, 0, default);
            Assert.True(KeDeregisterBugCheckCallback(taken));
            KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
        });
        Assert.Equal(["119 8 at 15"], Steps);
        Assert.Equal(BufferFinished, finished.State);
        Assert.Equal(PASSIVE_LEVEL, report.Irql);
    }

    [Fact]
    public void A_record_is_registered_once() => Run(() =>
    {
        PKBUGCHECK_CALLBACK_RECORD record = Record();
        KBUGCHECK_CALLBACK_ROUTINE routine = (_, _) => { };
        Assert.False(KeDeregisterBugCheckCallback(record));
        Assert.True(KeRegisterBugCheckCallback(record, routine, default, 0, default));
        Assert.False(KeRegisterBugCheckCallback(record, routine, default, 0, default));
        Assert.True(KeDeregisterBugCheckCallback(record));
        Assert.True(KeRegisterBugCheckCallback(record, routine, default, 0, default));
        PKBUGCHECK_REASON_CALLBACK_RECORD forDumps = ReasonRecord();
        KBUGCHECK_REASON_CALLBACK_ROUTINE dump = (_, _, _, _) => { };
        Assert.False(KeRegisterBugCheckReasonCallback(forDumps, dump, KbCallbackInvalid, default));
        Assert.False(KeDeregisterBugCheckReasonCallback(forDumps));
        Assert.True(KeRegisterBugCheckReasonCallback(forDumps, dump, KbCallbackDumpIo, default));
        Assert.False(KeRegisterBugCheckReasonCallback(forDumps, dump, KbCallbackAddPages, default));
        Assert.True(KeDeregisterBugCheckReasonCallback(forDumps));
    });

    [Fact]
    public void Drivers_are_asked_what_they_add_to_a_dump() => Stops(MANUALLY_INITIATED_CRASH, () =>
    {
        PKBUGCHECK_REASON_CALLBACK_RECORD record = ReasonRecord();
        Assert.True(KeRegisterBugCheckReasonCallback(record, (reason, r, data, length) =>
        {
            Assert.Equal(KbCallbackSecondaryDumpData, reason);
            Assert.Equal(record, r);
            Assert.Equal((uint)KBUGCHECK_SECONDARY_DUMP_DATA.SizeOf, length);
            var dump = new PKBUGCHECK_SECONDARY_DUMP_DATA(data.Address);
            Fill(dump.InBuffer, (int)dump.InBufferLength);
            dump.OutBuffer = dump.InBuffer;
            dump.OutBufferLength = dump.MaximumAllowed;
            Step("asked");
        }, KbCallbackSecondaryDumpData, default));
        KeRegisterBugCheckReasonCallback(ReasonRecord(), (_, _, _, _) => Step("never"), KbCallbackDumpIo, default);
        Assert.Empty(Steps);
        KeBugCheckEx(MANUALLY_INITIATED_CRASH, 0, 0, 0, 0);
    });

    [Fact]
    public void What_goes_wrong_in_a_routine_does_not_change_the_report()
    {
        PKBUGCHECK_CALLBACK_RECORD broken = default;
        BugCheckReport report = Stops(MANUALLY_INITIATED_CRASH, () =>
        {
            KeRegisterBugCheckCallback(Record(), (_, _) => Step("still called"), default, 0, default);
            foreach (Action mistake in new Action[]
            {
                () => new PULONG(0x10).Value = 1,
                () => KeBugCheckEx(MEMORY_MANAGEMENT, 0, 0, 0, 0),
                () => throw new InvalidOperationException(),
            })
            {
                KeRegisterBugCheckCallback(broken = Record(), (_, _) => mistake(), default, 0, default);
            }
            KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4);
        });
        Assert.Equal(["still called"], Steps);
        Assert.Equal(BufferIncomplete, broken.State);
        Assert.Equal(1UL, report.Parameter1);
    }
}
