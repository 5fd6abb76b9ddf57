using System.Text.Json;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Reporting.Tests;

/// <summary>What traces show of StartIo, interrupt service routines and registers.</summary>
public class InterruptTraceTests
{
    static Stack Traced() => new Stack(new Clerk(), @"\Device\Clerk0").Use(handle => Assert.Equal(NTSTATUS.STATUS_SUCCESS, handle.Read(new byte[4]).Status));

    [Fact]
    public void The_story_says_when_StartIo_gets_an_IRP_and_whose_DPC_completes_it()
    {
        using Stack stack = Traced();
        string[] lines = [.. stack.Text.Split('\n').Select(line => string.Join(' ', line.Split(' ', StringSplitOptions.RemoveEmptyEntries)))];
        int start = Array.FindIndex(lines, line => line.Contains("IRP_MJ_READ", StringComparison.Ordinal));
        Assert.Contains(". clerk Start StartIo gets the IRP", lines[start + 2], StringComparison.Ordinal);
        Assert.Contains(lines, line => line.Contains(". clerk dpc Done IoCompleteRequest STATUS_SUCCESS", StringComparison.Ordinal));
    }

    [Fact]
    public void The_events_tell_routine_registers_and_interrupt()
    {
        using Stack stack = Traced();
        string[] wanted = ["startIoCalled", "startIoReturned", "deviceRead", "deviceWritten", "interruptServiceStarted", "interruptServiceReturned"];
        JsonElement[] events =
        [
            .. stack.Json.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)
                .Where(e => wanted.Contains(e.GetProperty("event").GetString())),
        ];
        Assert.Equal(
            ["startIoCalled clerk!Start", "deviceWritten port 0x70 1 0x2a", "interruptServiceStarted clerk!Interrupt", "deviceRead memory 0xfe000004 4 0xffffffff",
                "interruptServiceReturned clerk!Interrupt True", "startIoReturned clerk!Start"],
            events.Select(Describe));
    }

    static string Describe(JsonElement e)
    {
        string[] fields = ["event", "routine", "claimed", "space", "address", "size", "value"];
        return string.Join(' ', fields.Where(f => e.TryGetProperty(f, out _)).Select(f => e.GetProperty(f).ToString()));
    }

    /// <summary>Serves each request by an interrupt.</summary>
    sealed class Clerk : WdmDriver
    {
        InterruptPin? pin;
        PDEVICE_OBJECT device;
        PKINTERRUPT interrupt;
        PVOID registers;

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            InterruptLine line = Machine.Interrupts.Line(5);
            pin = line.AddPin();
            IoCreateDevice(DriverObject, 0, RTL_CONSTANT_STRING(@"\Device\Clerk0"), FILE_DEVICE_UNKNOWN, 0, false, out device);
            IoInitializeDpcRequest(device, Done);
            registers = MmMapIoSpace(0xFE00_0000, 8, MmNonCached);
            foreach (byte major in (byte[])[IRP_MJ_CREATE, IRP_MJ_CLEANUP, IRP_MJ_CLOSE]) DriverObject.MajorFunction[major] = Routine(Complete);
            DriverObject.MajorFunction[IRP_MJ_READ] = Routine(Read);
            DriverObject.DriverStartIo = StartIoRoutine(Start);
            return IoConnectInterrupt(out interrupt, Interrupt, default, default, line.Vector, line.Irql, line.Irql, LevelSensitive, true, 1, false);
        }

        NTSTATUS Complete(PDEVICE_OBJECT DeviceObject, PIRP Irp)
        {
            Irp.IoStatus.Status = STATUS_SUCCESS;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_SUCCESS;
        }

        NTSTATUS Read(PDEVICE_OBJECT DeviceObject, PIRP Irp)
        {
            IoMarkIrpPending(Irp);
            IoStartPacket(DeviceObject, Irp, default, default(PDRIVER_CANCEL));
            return STATUS_PENDING;
        }

        void Start(PDEVICE_OBJECT DeviceObject, PIRP Irp)
        {
            WRITE_PORT_UCHAR((PUCHAR)0x70UL, 42);
            pin!.Raise();
            KeStallExecutionProcessor(1);
        }

        BOOLEAN Interrupt(PKINTERRUPT Interrupt, PVOID ServiceContext)
        {
            READ_REGISTER_ULONG((PULONG)(registers.Address + 4));
            pin!.Lower();
            IoRequestDpc(device, device.CurrentIrp, default);
            return true;
        }

        void Done(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
        {
            IoStartNextPacket(DeviceObject, false);
            Complete(DeviceObject, Irp);
        }
    }
}
