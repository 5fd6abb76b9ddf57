using Irpwright.Kernel.Tests.Pnp;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Wmi;

/// <summary>Goal: providers are asked for their blocks and get requests; tracing has no consumer. Method: the test is the provider.</summary>
public sealed class WmiTests : PnpTest
{
    const uint Register = 1, Deregister = 2, Update = 4;
    static readonly Guid Block = new("99999999-8888-7777-6666-555555555555");

    /// <summary>Answers IRP_MN_REGINFO_EX with one block, and queries with a number.</summary>
    NTSTATUS Provide(PDEVICE_OBJECT device, PIRP irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
        if (location.MajorFunction != IRP_MJ_SYSTEM_CONTROL) return Complete(irp, STATUS_SUCCESS);
        Assert.Equal((device.Address, (byte)PASSIVE_LEVEL, ThreadKind.System, STATUS_NOT_SUPPORTED),
            (location.Parameters.WMI.ProviderId, KeGetCurrentIrql(), Machine.CurrentThread.Kind, irp.IoStatus.Status));
        ulong buffer = location.Parameters.WMI.Buffer.Address;
        Step($"{location.MinorFunction} {location.Parameters.WMI.BufferSize:x}");
        switch (location.MinorFunction)
        {
            case IRP_MN_REGINFO_EX when location.Parameters.WMI.BufferSize < 0x2000:
                GuestMemory.Ref<uint>(buffer) = 0x2000;
                return Complete(irp, STATUS_BUFFER_TOO_SMALL, 4);
            case IRP_MN_REGINFO_EX:
                GuestMemory.Ref<uint>(buffer + 0x10) = 1;
                GuestMemory.Ref<Guid>(buffer + 0x18) = Block;
                return Complete(irp, STATUS_SUCCESS, 0x38);
            case IRP_MN_QUERY_ALL_DATA:
                Assert.Equal(Block, GuestMemory.Ref<Guid>(location.Parameters.WMI.DataPath.Address));
                GuestMemory.Ref<uint>(buffer) = 42;
                return Complete(irp, STATUS_SUCCESS, 4);
            default:
                IoSkipCurrentIrpStackLocation(irp);
                return IoCallDriver(device.DeviceObjectExtension.AttachedTo, irp);
        }
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_provider_is_asked_for_its_blocks_until_the_buffer_is_large_enough(Scheduling scheduling) => Run(scheduling, () =>
    {
        Other = Provide;
        PDEVICE_OBJECT device = IoGetAttachedDevice(Started().PhysicalDevice);
        Noted();
        Assert.Equal(STATUS_INVALID_PARAMETER, IoWMIRegistrationControl(device, Update));

        Assert.Equal(STATUS_SUCCESS, IoWMIRegistrationControl(device, Register));
        Pnp.Settle();

        Assert.Equal(["11 1000", "11 2000"], Noted());
        Assert.Equal([Block], Machine.Wmi.BlocksOf(device)!);
        Assert.Equal(STATUS_SUCCESS, IoWMIRegistrationControl(device, Update));
        Assert.Equal(STATUS_SUCCESS, IoWMIRegistrationControl(device, Deregister));
        Assert.Equal(STATUS_INVALID_PARAMETER, IoWMIRegistrationControl(device, Deregister));
        Assert.Equal(STATUS_INVALID_PARAMETER, IoWMIRegistrationControl(device, 77));
        Assert.Null(Machine.Wmi.BlocksOf(device));
        Pnp.Settle();
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-01")]
    public void A_provider_answers_queries_and_passes_down_what_it_does_not_know(Scheduling scheduling) => Run(scheduling, () =>
    {
        Other = Provide;
        PDEVICE_OBJECT device = IoGetAttachedDevice(Started().PhysicalDevice);
        byte[] buffer = new byte[8];

        Assert.Equal(new RequestAnswer(STATUS_SUCCESS, 4), Machine.Wmi.Send(device, IRP_MN_QUERY_ALL_DATA, Block, buffer));
        Assert.Equal([42, 0, 0, 0, 0, 0, 0, 0], buffer);
        Assert.Equal(STATUS_NOT_SUPPORTED, Machine.Wmi.Send(device, IRP_MN_EXECUTE_METHOD, Block, buffer).Status);
    });

    [Fact]
    public void Providers_and_instances_have_numbers() => Run(() =>
    {
        PDEVICE_OBJECT first = Device((_, irp) => Complete(irp, STATUS_SUCCESS)), second = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        uint id = IoWMIDeviceObjectToProviderId(first);
        Assert.NotEqual(id, IoWMIDeviceObjectToProviderId(second));
        Assert.Equal(id, IoWMIDeviceObjectToProviderId(first));
        Assert.Equal(STATUS_SUCCESS, IoWMIAllocateInstanceIds(Block, 6, out uint instance));
        Assert.Equal(STATUS_SUCCESS, IoWMIAllocateInstanceIds(Block, 1, out uint next));
        Assert.Equal(instance + 6, next);
    });

    [Fact]
    public void A_written_event_belongs_to_the_system() => Run(() =>
    {
        PVOID item = Memory(0x40);
        Assert.Equal(STATUS_SUCCESS, IoWMIWriteEvent(item));
        Assert.False(Machine.Pool.TryFind(item.Address, out _));
        Assert.Equal(1, Machine.Wmi.WrittenEvents);

        PVOID traced = Memory(0x40);
        GuestMemory.Ref<uint>(traced.Address + 0x2C) = 0x00020000;
        Assert.Equal(STATUS_INVALID_HANDLE, IoWMIWriteEvent(traced));
        Free(traced);
    });

    [Fact]
    public void Tracing_has_no_consumer() => Run(() =>
    {
        PGUID provider = new(Memory(16).Address);
        Assert.Equal(STATUS_INVALID_PARAMETER, EtwRegister(default, default, default, out _));
        Assert.Equal(STATUS_SUCCESS, EtwRegister(provider, default, default, out ulong handle));
        Assert.Equal(STATUS_SUCCESS, EtwRegisterClassicProvider(provider, 0, default, default, out ulong classic));
        Assert.Equal(2, Machine.Tracing.ProviderCount);
        Assert.False(EtwProviderEnabled(handle, 0, 0));
        Assert.False(EtwEventEnabled(handle, Memory(16)));
        Assert.Equal(STATUS_SUCCESS, EtwWrite(handle, Memory(16), default, 0, default));
        Assert.Equal(STATUS_INVALID_PARAMETER, EtwWrite(handle, Memory(16), default, 129, default));
        Assert.Equal(STATUS_SUCCESS, EtwWriteTransfer(handle, Memory(16), default, default, 128, default));
        Assert.Equal(STATUS_SUCCESS, EtwUnregister(handle));
        Assert.Equal(STATUS_SUCCESS, EtwUnregister(classic));
        Assert.Equal(STATUS_INVALID_HANDLE, EtwUnregister(handle));
        Assert.Equal(STATUS_INVALID_HANDLE, EtwWrite(handle, Memory(16), default, 0, default));
        Assert.Equal(STATUS_INVALID_HANDLE, EtwWriteTransfer(handle, Memory(16), default, default, 0, default));
    });

    [Fact]
    public unsafe void Software_tracing_finds_no_session() => Run(() =>
    {
        Assert.Equal(STATUS_INVALID_HANDLE, WmiTraceMessageVa(1, 0, default, 10, default));
        Assert.Equal(STATUS_INVALID_HANDLE, WmiQueryTraceInformation(1, default, 0, default, default));
        Assert.Equal(STATUS_NOT_FOUND, WmiQueryTraceInformation(4, default, 0, default, default));
        Assert.Equal(STATUS_SUCCESS, WmiQueryTraceInformation(6, default, 0, default, default));
        Assert.Equal(STATUS_INVALID_INFO_CLASS, WmiQueryTraceInformation(99, default, 0, default, default));
        ulong* gpr = stackalloc ulong[16];
        gpr[4] = Memory(0x80).Address;
        KernelExports.Find("WmiTraceMessage")!.Thunk(Machine, gpr);
        Assert.Equal(STATUS_INVALID_HANDLE, (NTSTATUS)(int)gpr[0]);
    });
}
