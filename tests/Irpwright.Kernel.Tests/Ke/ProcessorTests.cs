using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class ProcessorTests : SynchronizationTest
{
    [Fact]
    public void Counts_sets_groups_and_nodes_agree() => Run(() =>
    {
        var set = new PULONG64(Memory(8).Address);
        uint count = KeQueryActiveProcessorCount(set);
        Assert.Equal(count, (uint)System.Numerics.BitOperations.PopCount(set.Value));
        Assert.Equal(set.Value, KeQueryActiveProcessors());
        Assert.Equal(set.Value, KeQueryGroupAffinity(0));
        Assert.Equal(0UL, KeQueryGroupAffinity(1));
        Assert.Equal(count, KeQueryActiveProcessorCountEx(0));
        Assert.Equal(count, KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS));
        Assert.Equal(0u, KeQueryActiveProcessorCountEx(1));
        Assert.Equal(count, KeQueryMaximumProcessorCount());
        Assert.Equal(count, KeQueryMaximumProcessorCountEx(0));
        Assert.Equal(0u, KeQueryMaximumProcessorCountEx(1));
        Assert.Equal(1, KeQueryActiveGroupCount());
        Assert.Equal(1, KeQueryMaximumGroupCount());
        Assert.Equal(0, KeQueryHighestNodeNumber());
        Assert.Equal(0, KeGetCurrentNodeNumber());
        Assert.Equal(64u, KeGetRecommendedSharedDataAlignment());
    });

    [Fact]
    public void Every_index_has_a_number_and_the_other_way_round() => Run(() =>
    {
        uint count = KeQueryActiveProcessorCount(default);
        for (uint i = 0; i < count; i++)
        {
            Assert.Equal(STATUS_SUCCESS, KeGetProcessorNumberFromIndex(i, out PROCESSOR_NUMBER number));
            Assert.Equal((ushort)0, number.Group);
            Assert.Equal(i, KeGetProcessorIndexFromNumber(in number));
        }
        Assert.Equal(STATUS_INVALID_PARAMETER, KeGetProcessorNumberFromIndex(count, out _));
        Assert.Equal(INVALID_PROCESSOR_INDEX, KeGetProcessorIndexFromNumber(new PROCESSOR_NUMBER { Group = 1 }));
        Assert.Equal(INVALID_PROCESSOR_INDEX, KeGetProcessorIndexFromNumber(new PROCESSOR_NUMBER { Number = (byte)count }));
    });

    /// <summary>What a driver keeps for each processor, indexed by number and guarded by DISPATCH_LEVEL, is not shared.</summary>
    [Fact]
    public void Threads_at_work_have_different_processors_all_below_the_count() => Run(() =>
    {
        const int threads = 8;
        PKEVENT end = Event();
        HashSet<uint> numbers = [];
        for (int i = 0; i < threads; i++)
        {
            Fork(() =>
            {
                var number = new PPROCESSOR_NUMBER(Memory(PROCESSOR_NUMBER.SizeOf).Address);
                lock (numbers) numbers.Add(KeGetCurrentProcessorNumberEx(number));
                Assert.Equal(KeGetCurrentProcessorNumber(), number.Number);
                Wait(end);
            });
        }
        Eventually(() =>
        {
            lock (numbers) return numbers.Count == threads;
        });
        Assert.All(numbers, n => Assert.True(n < KeQueryActiveProcessorCount(default)));
        KeSetEvent(end, 0, false);
        Join();
    });

    [Fact]
    public void A_thread_moves_to_the_processors_it_asks_for_and_back() => Run(() =>
    {
        uint own = KeGetCurrentProcessorNumberEx(default);
        Assert.Equal(0UL, KeSetSystemAffinityThreadEx(1UL << 40));
        Assert.Equal(40u, KeGetCurrentProcessorNumberEx(default));
        Assert.Equal(1UL << 40, KeSetSystemAffinityThreadEx(1UL << 41 | 1UL << 50));
        Assert.Equal(41u, KeGetCurrentProcessorNumberEx(default));
        KeRevertToUserAffinityThreadEx(1UL << 40);
        Assert.Equal(40u, KeGetCurrentProcessorNumberEx(default));
        KeRevertToUserAffinityThread();
        Assert.Equal(own, KeGetCurrentProcessorNumberEx(default));
        KeSetSystemAffinityThread(KeQueryActiveProcessors());
        Assert.Equal(own, KeGetCurrentProcessorNumberEx(default));
        KeRevertToUserAffinityThread();
    });

    [Fact]
    public void Asking_for_no_processor_stops_the_machine() => Stops(INVALID_AFFINITY_SET, () => KeSetSystemAffinityThread(0));

    [Fact]
    public void Floating_point_is_always_allowed() => Run(() =>
    {
        PVOID save = Memory(16);
        Assert.Equal(STATUS_SUCCESS, KeSaveFloatingPointState(save));
        Assert.Equal(STATUS_SUCCESS, KeRestoreFloatingPointState(save));
        Assert.Equal(new byte[16], Bytes(save, 16));
    });

    [Fact]
    public void A_callout_gets_its_parameter_if_size_and_level_are_allowed() => Run(() =>
    {
        EXPAND_STACK_CALLOUT callout = parameter => Step($"{parameter.Address}");
        Assert.Equal(STATUS_SUCCESS, KeExpandKernelStackAndCallout(callout, new PVOID(7), 0x4000));
        Assert.Equal(STATUS_SUCCESS, KeExpandKernelStackAndCalloutEx(callout, new PVOID(8), MAXIMUM_EXPANSION_SIZE, true, default));
        Assert.Equal(STATUS_INVALID_PARAMETER_3, KeExpandKernelStackAndCalloutEx(callout, new PVOID(9), MAXIMUM_EXPANSION_SIZE + 1, false, default));
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        Assert.Equal(STATUS_INVALID_PARAMETER_4, KeExpandKernelStackAndCalloutEx(callout, new PVOID(10), 0x1000, true, default));
        Assert.Equal(STATUS_SUCCESS, KeExpandKernelStackAndCalloutEx(callout, new PVOID(11), 0x1000, false, default));
        KeLowerIrql(old);
        Assert.Equal(["7", "8", "11"], Steps);
    });
}
