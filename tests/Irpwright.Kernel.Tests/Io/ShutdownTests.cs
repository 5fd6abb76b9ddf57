using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>What happens once in the life of a system: file systems come and go, and at the end all are told.</summary>
public class ShutdownTests : DriverTest
{
    PDEVICE_OBJECT Noting(string name, Completing how = Completing.Inline) => Device((_, irp) =>
    {
        Step($"{name} 0x{IoGetCurrentIrpStackLocation(irp).MajorFunction:X} at {KeGetCurrentIrql()}");
        return CompleteSomehow(irp, how, STATUS_SUCCESS);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    public void Registered_devices_then_file_systems_then_last_chance_are_told_once(Completing how, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT disk = Noting("disk", how), first = Noting("first", how), second = Noting("second", how), gone = Noting("gone"), ntfs = Noting("ntfs");
        ntfs.DeviceType = FILE_DEVICE_DISK_FILE_SYSTEM;
        Assert.Equal(STATUS_SUCCESS, IoRegisterLastChanceShutdownNotification(disk));
        Assert.Equal(STATUS_SUCCESS, IoRegisterShutdownNotification(first));
        Assert.Equal(STATUS_SUCCESS, IoRegisterShutdownNotification(second));
        Assert.Equal(STATUS_SUCCESS, IoRegisterShutdownNotification(gone));
        Assert.NotEqual((DO_FLAGS)0, gone.Flags & DO_SHUTDOWN_REGISTERED);
        Assert.Equal(STATUS_SUCCESS, IoRegisterLastChanceShutdownNotification(gone));
        IoUnregisterShutdownNotification(gone);
        Assert.Equal((DO_FLAGS)0, gone.Flags & DO_SHUTDOWN_REGISTERED);
        IoRegisterFileSystem(ntfs);
        Machine.Shutdown.Notify();
        Assert.Equal(["second 0x10 at 0", "first 0x10 at 0", "ntfs 0x10 at 0", "disk 0x10 at 0"], Steps);
        IoUnregisterFileSystem(ntfs);
        Machine.Shutdown.Notify();
        Assert.Equal(4, Steps.Count);
    });

    [Fact]
    public void A_registration_keeps_the_device() => Run(() =>
    {
        PDEVICE_OBJECT device = Noting("device");
        Assert.Equal(STATUS_SUCCESS, IoRegisterShutdownNotification(device));
        Assert.Equal(3, ObfReferenceObject(device));
        ObfDereferenceObject(device);
        IoUnregisterShutdownNotification(device);
        Assert.Equal(2, ObfReferenceObject(device));
        ObfDereferenceObject(device);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void File_systems_register_and_filters_are_told(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT fat = Noting("fat"), ntfs = Noting("ntfs"), low = Noting("low"), disk = Noting("disk");
        fat.DeviceType = ntfs.DeviceType = low.DeviceType = FILE_DEVICE_DISK_FILE_SYSTEM;
        low.Flags |= DO_LOW_PRIORITY_FILESYSTEM;
        IoRegisterFileSystem(disk); // which is none
        IoRegisterFileSystem(fat);
        IoRegisterFileSystem(low);
        Assert.Equal([fat, low], Machine.FileSystems.Registered);
        Assert.Equal(1, fat.ReferenceCount);

        PDRIVER_FS_NOTIFICATION told = Machine.Code.Routine(new DRIVER_FS_NOTIFICATION((device, active) =>
            Step($"{(device == fat ? "fat" : device == ntfs ? "ntfs" : "low")} {active}")));
        Assert.Equal(STATUS_SUCCESS, IoRegisterFsRegistrationChange(DriverObject, told));
        Assert.Equal(["fat TRUE", "low TRUE"], Steps);
        Assert.Equal(STATUS_DEVICE_ALREADY_ATTACHED, IoRegisterFsRegistrationChange(DriverObject, told));
        IoRegisterFileSystem(ntfs);
        Assert.Equal([ntfs, fat, low], Machine.FileSystems.Registered);
        IoUnregisterFileSystem(fat);
        Assert.Equal(["fat TRUE", "low TRUE", "ntfs TRUE", "fat FALSE"], Steps);
        Assert.Equal(0, fat.ReferenceCount);
        IoUnregisterFsRegistrationChange(DriverObject, told);
        IoUnregisterFileSystem(ntfs);
        Assert.Equal(4, Steps.Count);
    });

    [Theory]
    [InlineData(STATUS_DEVICE_NOT_READY, true)]
    [InlineData(STATUS_IO_TIMEOUT, true)]
    [InlineData(STATUS_MEDIA_WRITE_PROTECTED, true)]
    [InlineData(STATUS_NO_MEDIA_IN_DEVICE, true)]
    [InlineData(STATUS_VERIFY_REQUIRED, true)]
    [InlineData(STATUS_UNRECOGNIZED_MEDIA, true)]
    [InlineData(STATUS_WRONG_VOLUME, true)]
    [InlineData(STATUS_SUCCESS, false)]
    [InlineData(STATUS_UNRECOGNIZED_VOLUME, false)]
    public void A_user_can_mend_some_errors(NTSTATUS status, bool induced) => Assert.Equal(induced, (bool)IoIsErrorUserInduced(status));

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_missing_medium_is_noted_with_the_thread_of_the_request(Scheduling scheduling) => Run(scheduling, () =>
    {
        PKTHREAD thread = Machine.CurrentThread.Object;
        PDEVICE_OBJECT floppy = default;
        floppy = Device((_, irp) => Pend(irp, () =>
        {
            KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
            IoSetHardErrorOrVerifyDevice(irp, floppy);
            Assert.True(IoGetDeviceToVerify(Machine.CurrentThread.Object).IsNull);
            Complete(irp, STATUS_VERIFY_REQUIRED);
            KeLowerIrql(old);
        }));
        Assert.True(IoGetDeviceToVerify(thread).IsNull);
        PKEVENT done = Event();
        IoCallDriver(floppy, IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, floppy, default, 0, null, done, StatusBlock()));
        Wait(done);
        Assert.Equal(floppy, IoGetDeviceToVerify(thread));
        IoSetDeviceToVerify(thread, default);
        Assert.True(IoGetDeviceToVerify(thread).IsNull);
    });

    [Fact]
    public void A_packet_without_a_thread_cannot_note_it() => Stops(SYSTEM_SERVICE_EXCEPTION, () =>
    {
        PDEVICE_OBJECT floppy = Noting("floppy");
        IoSetHardErrorOrVerifyDevice(IoAllocateIrp(1, false), floppy);
    });

    [Fact]
    public void A_packet_carries_a_priority_that_begins_normal() => Run(() =>
    {
        PIRP irp = IoAllocateIrp(1, false);
        irp.Flags = IRP_BUFFERED_IO;
        Assert.Equal(IoPriorityNormal, IoGetIoPriorityHint(irp));
        foreach (IO_PRIORITY_HINT hint in (IO_PRIORITY_HINT[])[IoPriorityVeryLow, IoPriorityLow, IoPriorityNormal, IoPriorityHigh, IoPriorityCritical])
        {
            Assert.Equal(STATUS_SUCCESS, IoSetIoPriorityHint(irp, hint));
            Assert.Equal(hint, IoGetIoPriorityHint(irp));
        }
        Assert.Equal(STATUS_INVALID_PARAMETER, IoSetIoPriorityHint(irp, MaxIoPriorityTypes));
        Assert.NotEqual((IRP_FLAGS)0, irp.Flags & IRP_BUFFERED_IO);
        IoFreeIrp(irp);
    });

    [Fact]
    public void A_packet_belongs_to_the_activity_that_it_was_given_until_it_is_another() => Run(() =>
    {
        PIRP irp = IoAllocateIrp(1, false);
        Guid activity = Guid.Empty, given = new("00112233-4455-6677-8899-aabbccddeeff");
        Assert.Equal(STATUS_NOT_FOUND, IoGetActivityIdIrp(irp, ref activity));
        Assert.Equal(STATUS_NOT_SUPPORTED, IoSetActivityIdIrp(irp, null));
        Assert.Equal(STATUS_SUCCESS, IoSetActivityIdIrp(irp, given));
        Assert.Equal(STATUS_SUCCESS, IoGetActivityIdIrp(irp, ref activity));
        Assert.Equal(given, activity);
        IoReuseIrp(irp, STATUS_SUCCESS);
        Assert.Equal(STATUS_NOT_FOUND, IoGetActivityIdIrp(irp, ref activity));
        IoFreeIrp(irp);
    });

    [Theory]
    [InlineData("IoCallDriver", "IofCallDriver")]
    [InlineData("IoCompleteRequest", "IofCompleteRequest")]
    public void Drivers_of_older_kits_find_the_old_names(string old, string now) => Assert.True(SameThunk(KernelExports.Find(old)!, KernelExports.Find(now)!));

    static unsafe bool SameThunk(KernelExport old, KernelExport now) => (nint)old.Thunk == (nint)now.Thunk && old.SourceName == now.SourceName && old.Index != now.Index;
}
