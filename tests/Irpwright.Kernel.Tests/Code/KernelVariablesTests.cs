using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Code;

public sealed class KernelVariablesTests : DriverTest
{
    [Theory, MemberData(nameof(EverySchedule))]
    public void Variables_have_the_values_of_Windows_10_on_x64(Scheduling scheduling) => Run(scheduling, () =>
    {
        Assert.Equal(0x7FFF_FFFE_FFFFul, MmHighestUserAddress.Address);
        Assert.Equal(0x7FFF_FFFF_0000ul, MmUserProbeAddress);
        Assert.Equal(0xFFFF_8000_0000_0000ul, MmSystemRangeStart.Address);
        Assert.Equal(0xF000_4A65u, NtBuildNumber);
        Assert.Equal((0u, 0u), (InitSafeBootMode, NtGlobalFlag));
        Assert.Equal((false, true), ((bool)KdDebuggerEnabled, (bool)KdDebuggerNotPresent));
        Assert.Equal((false, false), ((bool)NlsMbCodePageTag, (bool)NlsMbOemCodePageTag));
        Assert.Equal(KeQueryActiveProcessorCount(default), (uint)KeNumberProcessors);
    });

    [Fact]
    public void KeTickCount_moves_with_time() => Run(() =>
    {
        KeDelay(10 * 156_250);
        KeQueryTickCount(out long ticks);
        Assert.True(ticks >= 10);
        Assert.InRange(KeTickCount.LowPart, 10u, (uint)ticks + 1000);
        Assert.Equal((0, 0), (KeTickCount.High1Time, KeTickCount.High2Time));
        if (Here == Scheduling.Controlled) Assert.Equal((10, 10u), (ticks, KeTickCount.LowPart));
    });

    void KeDelay(long ticks) => Assert.Equal(STATUS_SUCCESS, KeDelayExecutionThread(KernelMode, false, -ticks));

    [Fact]
    public void No_byte_leads_a_character_of_two_bytes() => Run(() =>
    {
        PVOID table = Variable<PVOID>("NlsOemLeadByteInfo");
        Assert.Equal(new byte[512], Bytes(table, 512));
    });

    [Fact]
    public void Drivers_may_write_only_what_is_declared_writable() => Run(() =>
    {
        foreach (KernelVariable variable in Machine.Variables.All)
        {
            Assert.True(GuestMemory.IsAccessible(variable.Address, variable.Size, PageAccess.Read));
            Assert.Equal(variable.IsWritable, GuestMemory.IsAccessible(variable.Address, variable.Size, PageAccess.Write));
        }
        Assert.True(Machine.Variables.Find("HalDispatchTable")!.IsWritable);
        Assert.False(Machine.Variables.Find("KeTickCount")!.IsWritable);
    });

    [Fact]
    public void Variables_do_not_overlap_and_are_aligned() => Run(() =>
    {
        KernelVariable[] byAddress = [.. Machine.Variables.All.OrderBy(v => v.Address)];
        Assert.All(byAddress, v => Assert.Equal(0u, v.Address % 16));
        Assert.All(byAddress.Zip(byAddress.Skip(1)), pair => Assert.True(pair.First.Address + pair.First.Size <= pair.Second.Address));
    });

    [Fact]
    public void A_name_is_exported_once()
    {
        using var machine = new Machine();
        ulong address = machine.Variables.Define("Mine", 4, "hal.dll");
        Assert.Equal(new KernelVariable("Mine", "hal.dll", address, 4, false), machine.Variables.Find("Mine"));
        Assert.Throws<InvalidOperationException>(() => machine.Variables.Define("Mine", 4));
        Assert.Throws<InvalidOperationException>(() => machine.Variables.Define("IofCallDriver", 8));
        Assert.Throws<InvalidOperationException>(() => machine.Variables.Define("Large", 1 << 20));
        Assert.False(machine.Variables.TryFind("mine", out _));
        Assert.False(machine.Variables.TryFind("Large", out _));
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void MmGetSystemRoutineAddress_finds_routines_and_variables_of_both_modules_and_nothing_else(Scheduling scheduling) => Run(scheduling, () =>
    {
        PVOID Find(string name) => MmGetSystemRoutineAddress(RTL_CONSTANT_STRING(name));
        Assert.Equal("IofCallDriver", Machine.Code.ExportAt(Find("IofCallDriver").Address)?.Name);
        Assert.Equal("hal.dll", Machine.Code.ExportAt(Find("KeStallExecutionProcessor").Address)?.Module);
        Assert.Equal(NtBuildNumber, GuestMemory.Ref<uint>(Find("NtBuildNumber").Address));
        Assert.All(["IoGetCurrentIrpStackLocation", "iofcalldriver", "IofCallDrive", ""], name => Assert.True(Find(name).IsNull));
    });
}
