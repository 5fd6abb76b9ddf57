using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ob;

public class NamespaceTests : ObjectTest
{
    [Theory, MemberData(nameof(EverySchedule))]
    public void A_temporary_object_has_its_name_as_long_as_handles(Scheduling scheduling) => Run(scheduling, () =>
    {
        HANDLE first = Directory(@"\Mine");
        PVOID directory = Object(first);
        Assert.Equal(STATUS_SUCCESS, ZwOpenDirectoryObject(out HANDLE second, DIRECTORY_QUERY, Attributes(@"\mine")));
        Assert.Equal(directory, Object(second));
        ObReferenceObject(directory);
        ZwClose(first);
        Assert.True(Exists(@"\Mine"));
        ZwClose(second);
        Assert.False(Exists(@"\Mine"));
        Assert.Equal(0, ObDereferenceObject(directory));
    });

    [Fact]
    public void A_permanent_object_stays_until_it_is_made_temporary() => Run(() =>
    {
        ZwClose(Directory(@"\Mine", OBJ_KERNEL_HANDLE | OBJ_PERMANENT));
        Assert.Equal(STATUS_SUCCESS, ZwOpenDirectoryObject(out HANDLE handle, DIRECTORY_QUERY, Attributes(@"\Mine")));
        Assert.Equal(STATUS_SUCCESS, ZwMakeTemporaryObject(handle));
        Assert.Equal(STATUS_SUCCESS, ZwMakeTemporaryObject(handle)); // does nothing
        Assert.True(Exists(@"\Mine"));
        ZwClose(handle);
        Assert.False(Exists(@"\Mine"));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwMakeTemporaryObject(handle));
    });

    [Fact]
    public void Creating_what_exists_collides_or_opens_it() => Run(() =>
    {
        PVOID directory = Object(Directory(@"\Mine"));
        Assert.Equal(STATUS_OBJECT_NAME_COLLISION, ZwCreateDirectoryObject(out _, DIRECTORY_QUERY, Attributes(@"\Mine")));
        Assert.Equal(STATUS_OBJECT_NAME_EXISTS, ZwCreateDirectoryObject(out HANDLE again, DIRECTORY_QUERY, Attributes(@"\Mine", OBJ_KERNEL_HANDLE | OBJ_OPENIF)));
        Assert.Equal(directory, Object(again));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwCreateSymbolicLinkObject(
            out _, SYMBOLIC_LINK_QUERY, Attributes(@"\Mine", OBJ_KERNEL_HANDLE | OBJ_OPENIF), RTL_CONSTANT_STRING(@"\Device")));
    });

    [Theory]
    [InlineData(@"\Nobody", STATUS_OBJECT_NAME_NOT_FOUND)]
    [InlineData(@"\Nobody\Home", STATUS_OBJECT_PATH_NOT_FOUND)]
    [InlineData(@"Nobody", STATUS_OBJECT_PATH_SYNTAX_BAD)]
    [InlineData(@"", STATUS_OBJECT_PATH_SYNTAX_BAD)]
    [InlineData(@"\Device\", STATUS_OBJECT_NAME_INVALID)]
    [InlineData(@"\\Device", STATUS_OBJECT_NAME_INVALID)]
    [InlineData(@"\Device\Leaf", STATUS_OBJECT_TYPE_MISMATCH)]
    [InlineData(@"\Device\Leaf\More", STATUS_OBJECT_TYPE_MISMATCH)]
    [InlineData(@"\??\Around", STATUS_OBJECT_PATH_NOT_FOUND)]
    [InlineData(@"\", STATUS_SUCCESS)]
    [InlineData(@"\??", STATUS_SUCCESS)]
    [InlineData(@"\DosDevices\Global", STATUS_SUCCESS)]
    public void Opening_tells_why_a_name_leads_nowhere(string name, NTSTATUS expected) => Run(() =>
    {
        Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: @"\Device\Leaf");
        IoCreateSymbolicLink(RTL_CONSTANT_STRING(@"\??\Around"), RTL_CONSTANT_STRING(@"\??\Around"));
        Assert.Equal(expected, ZwOpenDirectoryObject(out _, DIRECTORY_QUERY, Attributes(name)));
    });

    [Fact]
    public void Attributes_that_are_wrong_are_refused() => Run(() =>
    {
        POBJECT_ATTRIBUTES wrongLength = Attributes(@"\Mine"), wrongFlags = Attributes(@"\Mine", (OBJ_FLAGS)1), oddName = Attributes(@"\Mine");
        wrongLength.Length = 4;
        var odd = new PUNICODE_STRING(Memory(UNICODE_STRING.SizeOf).Address);
        odd.Value = oddName.ObjectName.Value;
        odd.Length--;
        oddName.ObjectName = odd;
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwCreateDirectoryObject(out _, 0, wrongLength));
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwCreateDirectoryObject(out _, 0, wrongFlags));
        Assert.Equal(STATUS_OBJECT_NAME_INVALID, ZwCreateDirectoryObject(out _, 0, oddName));
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwOpenDirectoryObject(out _, 0, default));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwOpenDirectoryObject(out _, 0, Attributes("Mine", root: new HANDLE(0x4444))));
    });

    [Fact]
    public void Names_can_be_relative_to_a_directory() => Run(() =>
    {
        HANDLE outer = Directory(@"\Outer"), inner = Directory("Inner", root: outer);
        Assert.Equal(Object(inner), Machine.Objects.TryFind(@"\Outer\Inner", out ulong found, out _) ? new PVOID(found) : default);
        Assert.Equal(STATUS_SUCCESS, ZwOpenDirectoryObject(out _, DIRECTORY_QUERY, Attributes("inner", root: outer)));
        Assert.Equal(STATUS_OBJECT_PATH_SYNTAX_BAD, ZwOpenDirectoryObject(out _, DIRECTORY_QUERY, Attributes(@"\Outer", root: outer)));
    });

    [Fact]
    public void A_device_needs_the_directory_that_its_name_is_in() => Run(() =>
    {
        NTSTATUS Create(string name) => IoCreateDevice(DriverObject, 0, RTL_CONSTANT_STRING(name), FILE_DEVICE_DISK, 0, false, out _);
        Assert.Equal(STATUS_OBJECT_PATH_NOT_FOUND, Create(@"\Device\Harddisk0\DR0"));
        Directory(@"\Device\Harddisk0");
        Assert.Equal(STATUS_SUCCESS, Create(@"\Device\Harddisk0\DR0"));
        Assert.Equal(STATUS_OBJECT_NAME_COLLISION, Create(@"\Device\Harddisk0\DR0"));
        Assert.Equal(STATUS_OBJECT_PATH_SYNTAX_BAD, Create("DR0"));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, Create(@"\Device\Harddisk0\DR0\Partition1"));
    });

    [Theory]
    [InlineData(@"\??\Link")]
    [InlineData(@"\DosDevices\Link")]
    [InlineData(@"\GLOBAL??\Link")]
    [InlineData(@"\DosDevices\Global\Link")]
    [InlineData(@"\??\Global\LINK")]
    public void Win32_names_are_one_directory(string name) => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: @"\Device\Target");
        Assert.Equal(STATUS_SUCCESS, IoCreateUnprotectedSymbolicLink(RTL_CONSTANT_STRING(@"\??\Link"), RTL_CONSTANT_STRING(@"\Device\Target")));
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByName(RTL_CONSTANT_STRING(name), OBJ_CASE_INSENSITIVE, default, 0,
            IoDeviceObjectType, KernelMode, default, out PVOID found));
        Assert.Equal(device, (PDEVICE_OBJECT)found);
        ObDereferenceObject(found);
        Assert.Equal(STATUS_SUCCESS, IoDeleteSymbolicLink(RTL_CONSTANT_STRING(name)));
        Assert.False(Exists(@"\??\Link"));
    });

    [Fact]
    public void Only_links_can_be_deleted_as_links() => Run(() =>
    {
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, IoDeleteSymbolicLink(RTL_CONSTANT_STRING(@"\??\Link")));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, IoDeleteSymbolicLink(RTL_CONSTANT_STRING(@"\Device")));
        Assert.Equal(STATUS_OBJECT_NAME_COLLISION, IoCreateSymbolicLink(RTL_CONSTANT_STRING(@"\Device"), RTL_CONSTANT_STRING(@"\Driver")));
        Assert.Equal(STATUS_OBJECT_PATH_NOT_FOUND, IoCreateSymbolicLink(RTL_CONSTANT_STRING(@"\No\Link"), RTL_CONSTANT_STRING(@"\Driver")));
    });

    [Fact]
    public void A_link_tells_its_target() => Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS, ZwCreateSymbolicLinkObject(
            out HANDLE created, SYMBOLIC_LINK_ALL_ACCESS, Attributes(@"\??\X:"), RTL_CONSTANT_STRING(@"\Device\Disk")));
        Assert.Equal(STATUS_SUCCESS, ZwOpenSymbolicLinkObject(out HANDLE link, GENERIC_READ, Attributes(@"\??\X:")));
        Assert.Equal(Object(created), Object(link));
        var target = new PUNICODE_STRING(Memory(UNICODE_STRING.SizeOf).Address);
        target.Buffer = new PWSTR(Memory(64).Address);
        target.MaximumLength = 23;
        var length = new PULONG(Memory(4).Address);
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, ZwQuerySymbolicLinkObject(link, target, length));
        Assert.Equal(24u, length.Value);
        target.MaximumLength = 24;
        Assert.Equal(STATUS_SUCCESS, ZwQuerySymbolicLinkObject(link, target, default));
        Assert.Equal(@"\Device\Disk", Strings.Read(target));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwQuerySymbolicLinkObject(Directory(), target, default));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwOpenSymbolicLinkObject(out _, GENERIC_READ, Attributes(@"\Device")));
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwCreateSymbolicLinkObject(out _, 0, Attributes(@"\??\Y:"), RTL_CONSTANT_STRING("")));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Driver_objects_are_found_by_name(Scheduling scheduling) => Run(scheduling, () =>
    {
        PUNICODE_STRING name = RTL_CONSTANT_STRING(@"\Driver\TEST");
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByName(name, OBJ_CASE_INSENSITIVE, default, 0, IoDriverObjectType, KernelMode, default, out PVOID found));
        Assert.Equal(DriverObject, (PDRIVER_OBJECT)found);
        ObDereferenceObject(found);
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ObReferenceObjectByName(
            name, OBJ_CASE_INSENSITIVE, default, 0, IoDeviceObjectType, KernelMode, default, out found));
        Assert.True(found.IsNull);
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, ObReferenceObjectByName(
            RTL_CONSTANT_STRING(@"\Driver\None"), OBJ_CASE_INSENSITIVE, default, 0, IoDriverObjectType, KernelMode, default, out _));
    });

    [Fact]
    public void A_driver_name_is_in_use_until_the_driver_is_unloaded() => Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS, Machine.Drivers.Load(new Unloadable(), "once", out Driver? driver));
        Assert.Equal(STATUS_IMAGE_ALREADY_LOADED, Machine.Drivers.Load(new Unloadable(), "once", out Driver? second));
        Assert.Null(second);
        Assert.True(Machine.Drivers.Unload(driver!));
        Assert.Equal(STATUS_SUCCESS, Machine.Drivers.Load(new Unloadable(), "once", out _));
    });

    sealed class Unloadable : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            DriverObject.DriverUnload = Routine(static (PDRIVER_OBJECT _) => { });
            return STATUS_SUCCESS;
        }
    }
}
