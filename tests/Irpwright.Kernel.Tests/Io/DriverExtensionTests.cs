using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class DriverExtensionTests : DriverTest
{
    [Theory, MemberData(nameof(EverySchedule))]
    public void A_context_area_is_found_by_its_value_and_freed_with_the_driver(Scheduling scheduling) => Run(scheduling, () =>
    {
        int before = Machine.Pool.LiveBlocks.Count;
        var other = new Other();
        Assert.Equal(STATUS_SUCCESS, Machine.Drivers.Load(other, "other", out Driver? loaded));
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        Assert.Equal(STATUS_SUCCESS, IoAllocateDriverObjectExtension(loaded!.Object, new PVOID(1), 24, out PVOID first));
        Assert.Equal(STATUS_SUCCESS, IoAllocateDriverObjectExtension(loaded.Object, new PVOID(2), 8, out PVOID second));
        Assert.Equal(new byte[24], Bytes(first, 24));
        Assert.Equal(STATUS_OBJECT_NAME_COLLISION, IoAllocateDriverObjectExtension(loaded.Object, new PVOID(1), 24, out PVOID again));
        Assert.True(again.IsNull);
        Assert.Equal(first, IoGetDriverObjectExtension(loaded.Object, new PVOID(1)));
        Assert.Equal(second, IoGetDriverObjectExtension(loaded.Object, new PVOID(2)));
        Assert.True(IoGetDriverObjectExtension(loaded.Object, new PVOID(3)).IsNull);
        Assert.True(IoGetDriverObjectExtension(DriverObject, new PVOID(1)).IsNull);
        Machine.Pool.FailAllocation = (_, _) => true;
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, IoAllocateDriverObjectExtension(loaded.Object, new PVOID(3), 24, out _));
        Machine.Pool.FailAllocation = null;
        KeLowerIrql(old);
        Assert.True(Machine.Drivers.Unload(loaded));
        Assert.DoesNotContain(Machine.Pool.LiveBlocks, b => b.Address == first.Address - 0x10 || b.Address == second.Address - 0x10);
    });

    sealed class Other : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            DriverObject.DriverUnload = Machine.Code.Routine(new DRIVER_UNLOAD(_ => { }));
            return STATUS_SUCCESS;
        }
    }

    sealed class Reinitializing(List<string> steps, NTSTATUS entry) : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            IoRegisterDriverReinitialization(DriverObject, Again, new PVOID(7));
            IoRegisterBootDriverReinitialization(DriverObject, AtBoot, new PVOID(8));
            steps.Add("DriverEntry");
            return entry;
        }

        void Again(PDRIVER_OBJECT driver, PVOID context, uint count)
        {
            Assert.Equal((DriverObject, PASSIVE_LEVEL), (driver, KeGetCurrentIrql()));
            steps.Add($"again {context.Address} {count}");
            if (count < 3) IoRegisterDriverReinitialization(driver, Again, new PVOID(context.Address + 10));
        }

        void AtBoot(PDRIVER_OBJECT driver, PVOID context, uint count) => steps.Add($"boot {context.Address} {count}");
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void Reinitialization_routines_run_after_DriverEntry_boot_first_and_count_their_calls(Scheduling scheduling) => Run(scheduling, () =>
    {
        List<string> steps = [];
        Assert.Equal(STATUS_SUCCESS, Machine.Drivers.Load(new Reinitializing(steps, STATUS_SUCCESS), "again", out _));
        Assert.Equal(["DriverEntry", "boot 8 1", "again 7 2", "again 17 3"], steps);
    });

    [Fact]
    public void A_driver_that_did_not_load_is_not_reinitialized() => Run(() =>
    {
        List<string> steps = [];
        Assert.Equal(STATUS_UNSUCCESSFUL, Machine.Drivers.Load(new Reinitializing(steps, STATUS_UNSUCCESSFUL), "failing", out _));
        Assert.Equal(STATUS_SUCCESS, Machine.Drivers.Load(new Other(), "other", out _));
        Assert.Equal(["DriverEntry"], steps);
    });

    [Fact]
    public void The_configuration_is_one_structure_for_all_drivers() => Run(() =>
    {
        PCONFIGURATION_INFORMATION configuration = IoGetConfigurationInformation();
        Assert.Equal((uint)CONFIGURATION_INFORMATION.SizeOf, configuration.Version);
        Assert.Equal(0U, configuration.DiskCount);
        configuration.DiskCount++;
        Assert.Equal(1U, IoGetConfigurationInformation().DiskCount);
    });
}
